"""Where the matrices of an adapter belong in the base model's files.

Trainers name them after the model that their transformers loaded; a server goes by the names in the base's
files, and passes over others without a word. A module is looked for under its own name, under the one that
transformers gives it, and by its place in the layers, and must fit the shape in the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..base.adapters import lora_modules, unserved_reason
from ..base.architecture import Architecture, on_meta
from ..base.checkpoint import Shapes
from ..base.stored_names import PEFT_PREFIX, Piece, adapter_names, stored_names
from ..contract.errors import InvalidInput
from .settings import AdapterSettings

_WRAPPERS: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into names."""

_MATRIX: Final = re.compile(r"(.+)\.(lora_[AB])(?:\.default)?\.weight")

_BESIDE: Final = re.compile(r"vision|visual|image|audio|speech|multi_modal|projector")
"""Parts of names of what is beside a text model."""

UNKNOWN: Final = "are no matrices of the base model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the pair of one module goes."""

    pieces: Mapping[str, list[Piece]]
    """What becomes of ``lora_A`` and ``lora_B``, under the names of the base's files."""
    scaling: float
    """What its updates are multiplied by."""


def matrix_of(key: str) -> tuple[str, str] | None:
    """Module and ``lora_A`` or ``lora_B`` of a tensor in an adapter's file; None for any other tensor."""
    for wrapper in _WRAPPERS:
        key = key.replace(wrapper, "")
    found = _MATRIX.fullmatch(key.removeprefix(PEFT_PREFIX))
    return (found[1], found[2]) if found else None


def place(
    modules: Collection[str], kind: Architecture, settings: AdapterSettings, uri: str
) -> tuple[dict[str, Placed], dict[str, str]]:
    """Where each module goes, and of the others why no server would apply them, as the end of a sentence."""
    base = on_meta(kind.config, uri)
    finder = _Finder(base, kind.tensors)
    fused = {name for name in modules if finder.is_fused(name)}
    placed, unplaced = _fused(base, fused, kind.tensors, settings) if fused else ({}, {})
    for module in set(modules) - fused:
        name, why = finder.find(module)
        if why is not None:
            unplaced[module] = why
        else:
            pieces = {m: [Piece(f"{PEFT_PREFIX}{name}.{m}.weight", _whole)] for m in ("lora_A", "lora_B")}
            placed[module] = Placed(pieces=pieces, scaling=_scaling(module, settings))
    return placed, unplaced


class _Finder:
    """Finds modules in the base's files."""

    def __init__(self, base: Any, tensors: Shapes) -> None:
        self._tensors = tensors
        self._modules = dict(base.named_modules())
        self._loaded = stored_names(base, tensors)
        self._parameter = {stored: name for name, of in self._loaded.items() for stored in of}
        self._unserved: Callable[[str], str | None] = unserved_reason(base)

    def is_fused(self, module: str) -> bool:
        """Whether a module is the experts of a layer in one, as PEFT adapts what transformers has stacked."""
        experts = module.removesuffix(".base_layer")
        return experts.endswith(".experts") and f"{module}.weight" not in self._tensors

    def find(self, module: str) -> tuple[str, str | None]:
        """The module's name in the files, and why no server would apply an adapter for it, if so."""
        if module in self._modules and (why := self._unserved(module)) is not None:
            return module, why
        if (stored := self._stored(module)) is None:
            return module, "lie beside the text model" if _BESIDE.search(module) else UNKNOWN
        name, parameter = stored.removesuffix(".weight"), self._parameter.get(stored)
        if parameter is None:
            return name, "lie beside the text model"
        loaded_as = parameter.removesuffix(".weight")
        return name, self._unserved(loaded_as) if loaded_as in self._modules else None

    def _stored(self, module: str) -> str | None:
        name = f"{module}.weight"
        if name in self._tensors:
            return name
        if len(sources := self._loaded.get(name, [])) == 1:
            return sources[0]
        if sources or _BESIDE.search(module):
            return None
        place = re.search(r"(?:^|\.)(layers\.\d+\..+)", name)
        alike = [s for s in self._parameter if place and s.endswith(f".{place.group(1)}")]
        return alike[0] if len(alike) == 1 else None


def _fused(
    base: Any, modules: Collection[str], tensors: Shapes, settings: AdapterSettings
) -> tuple[dict[str, Placed], dict[str, str]]:
    """Experts in one pair, taken apart as the base's files have them."""
    import peft

    targets = [
        name for name in settings.raw.get("target_parameters") or () if not str(name).endswith(".weight")
    ]
    try:
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            use_rslora=settings.rslora,
            rank_pattern=settings.pattern("rank_pattern"),
            alpha_pattern=settings.pattern("alpha_pattern"),
            target_modules=[],
            target_parameters=targets,
        )
        model = peft.get_peft_model(base, config)
        names = adapter_names(model, tensors)
    except (ValueError, InvalidInput):
        return {}, dict.fromkeys(modules, "are experts that the base's files do not have in this form")
    layers = lora_modules(model)
    placed: dict[str, Placed] = {}
    for module in modules:
        pieces = {m: names.get(f"{PEFT_PREFIX}{module}.{m}.weight", []) for m in ("lora_A", "lora_B")}
        if module in layers and all(pieces.values()):
            placed[module] = Placed(pieces=pieces, scaling=layers[module].scaling["default"])
    return placed, {module: UNKNOWN for module in modules if module not in placed}


def _scaling(module: str, settings: AdapterSettings) -> float:
    alpha = _matching(settings.pattern("alpha_pattern"), module, settings.alpha)
    return settings.scaling_of(alpha, rank_of(module, settings))


def rank_of(module: str, settings: AdapterSettings) -> int:
    """The rank that adapter_config.json gives a module."""
    return int(_matching(settings.pattern("rank_pattern"), module, settings.rank))


def _matching(pattern: Mapping[str, float], module: str, otherwise: float) -> float:
    """The value of the first pattern that a name matches, as PEFT looks for it."""
    from peft.utils.other import get_pattern_key

    return pattern.get(get_pattern_key(list(pattern), module), otherwise)


def _whole(tensor: Any) -> Any:
    return tensor
