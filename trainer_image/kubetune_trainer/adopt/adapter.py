"""An adapter in the form in which it is served: names of the base's files, one rank, scaling and type."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifact.checks import check_named_after_base, check_weights
from ..base.architecture import Architecture
from ..base.stored_names import PEFT_PREFIX
from ..contract.config import TrainerConfig
from ..contract.errors import AdapterInvalid, name_list
from ..contract.messages import ModelSummary
from .folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MERGE, refusal
from .names import UNKNOWN, Placed, place, rank_of
from .pairs import Pairs, is_zero, opened, read_pairs
from .settings import AdapterSettings

_SAME_BASE = re.compile(r"[-_.](?:unsloth|bnb|4bit|8bit|bf16|fp16)", re.IGNORECASE)
"""What names of copies of a model have besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written."""

    rank: int
    warnings: tuple[str, ...]


def write_adapter(
    source: Path,
    directory: Path,
    settings: AdapterSettings,
    config: TrainerConfig,
    base: ModelSummary,
    kind: Architecture,
) -> Written:
    """Check an adapter against the base's files, and write it under their names.

    Raises:
        AdapterInvalid: it is damaged, or of another base, or a server could not apply all of it.
    """
    assert config.adopt is not None
    uri = config.adopt.uri
    pairs = read_pairs(source / ADAPTER_WEIGHTS, uri)
    placed, unplaced = place(pairs.modules, kind, settings, config.model.uri)
    with opened(source / ADAPTER_WEIGHTS, uri) as file:
        _require_without_effect(unplaced, pairs, file, settings, config)
        _require_effect(placed, pairs, file, uri)
        adapter = _Adapter(placed, pairs, settings, uri)
        expected = adapter.shapes()
        try:
            check_named_after_base(expected, kind.tensors)
        except AdapterInvalid as error:
            raise _other_base(error.message.partition(": ")[2], settings, config) from None
        if adapter.as_it_is:
            shutil.copyfile(source / ADAPTER_WEIGHTS, directory / ADAPTER_WEIGHTS)
        else:
            adapter.save(file, directory / ADAPTER_WEIGHTS)
    check_weights(directory, expected, lora=False)
    adapter.save_settings(config, base, directory)
    warnings = (*_of_base(settings, config), *_of_layers(expected, kind, settings))
    return Written(rank=adapter.rank, warnings=warnings)


class _Adapter:
    """What is published of an adapter."""

    def __init__(
        self, placed: Mapping[str, Placed], pairs: Pairs, settings: AdapterSettings, uri: str
    ) -> None:
        self._placed, self._pairs, self._settings = placed, pairs, settings
        ranks = {module: self._rank(module) for module in sorted(placed)}
        wrong = [m for m, rank in ranks.items() if not self._is_fused(m) and rank != rank_of(m, settings)]
        if wrong:
            raise refusal(
                uri,
                f"has the rank {ranks[wrong[0]]} in {wrong[0]}, where {ADAPTER_CONFIG} says "
                f"{rank_of(wrong[0], settings)}: its updates would be scaled wrongly",
                "Put the adapter_config.json that it was saved with beside the weights",
            )
        self.rank = max(ranks.values())
        """Of every published pair: smaller ones get rows of zeros."""
        self._is_plain = set(ranks.values()) == {settings.rank} and all(
            math.isclose(of.scaling, settings.scaling) for of in placed.values()
        )

    @property
    def as_it_is(self) -> bool:
        """Whether the file needs no change."""
        return (
            self._is_plain
            and len(self._placed) == len(self._pairs.modules)
            and len(self._pairs.types()) == 1
            and all(
                [piece.name for piece in pieces] == [self._pairs.key(module, matrix)]
                for module, of in self._placed.items()
                for matrix, pieces in of.pieces.items()
            )
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what is published."""
        import torch

        whole = {
            (module, matrix): torch.empty(self._pairs.shape(module, matrix), device="meta")
            for module in self._placed
            for matrix in ("lora_A", "lora_B")
        }
        return {name: tuple(tensor.shape) for name, tensor in self._tensors(whole)}

    def save(self, file: Any, path: Path) -> None:
        """Write the tensors."""
        import torch
        from safetensors.torch import save_file

        types = self._pairs.types()
        common = next(iter(types)) if len(types) == 1 else torch.float32
        whole = {
            (module, matrix): file.get_tensor(self._pairs.key(module, matrix)).to(common)
            for module in self._placed
            for matrix in ("lora_A", "lora_B")
        }
        published = {
            name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in self._tensors(whole)
        }
        save_file(published, path, {"format": "pt"})

    def save_settings(self, config: TrainerConfig, base: ModelSummary, directory: Path) -> None:
        """Write adapter_config.json: what the trainer wrote, where it is still true."""
        settings = self._settings
        hub = config.model.uri.removeprefix("hf://") if config.model.uri.startswith("hf://") else None
        modules = {
            n.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight") for n, _ in self._names("lora_A")
        }
        stacked = {module for module in modules if self._is_fused(module)}
        values: dict[str, Any] = {
            **settings.raw,
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": hub or config.model.uri,
            "revision": base.revision if hub else None,
            "inference_mode": True,
            "bias": "none",
            "rank_pattern": {},
            "alpha_pattern": {},
            "exclude_modules": None,
            "modules_to_save": None,
            "target_modules": sorted({module.rpartition(".")[2] for module in modules - stacked}),
            "target_parameters": settings.raw.get("target_parameters") if stacked else None,
        }
        if not self._is_plain:
            alpha = settings.scaling * self.rank
            values |= {"r": self.rank, "use_rslora": False}
            values["lora_alpha"] = round(alpha) if math.isclose(alpha, round(alpha)) else alpha
        text = json.dumps(values, indent=2, sort_keys=True) + "\n"
        (directory / ADAPTER_CONFIG).write_text(text, encoding="utf-8")

    def _names(self, matrix: str) -> Iterator[tuple[str, str]]:
        """Names of what is published, and the module that each is of."""
        for module, of in self._placed.items():
            for piece in of.pieces[matrix]:
                yield piece.name, module

    def _tensors(self, whole: Mapping[tuple[str, str], Any]) -> Iterator[tuple[str, Any]]:
        """What is published of whole matrices: all of one rank, with one scaling."""
        for module, of in self._placed.items():
            for piece in of.pieces["lora_A"]:
                yield piece.name, _padded(piece.take(whole[module, "lora_A"]), self.rank, dimension=0)
            factor = of.scaling / self._settings.scaling
            for piece in of.pieces["lora_B"]:
                part = piece.take(whole[module, "lora_B"])
                if not math.isclose(factor, 1):
                    part = (part.float() * factor).to(part.dtype)
                yield piece.name, _padded(part, self.rank, dimension=1)

    def _rank(self, module: str) -> int:
        import torch

        whole = torch.empty(self._pairs.shape(module, "lora_A"), device="meta")
        return int(self._placed[module].pieces["lora_A"][0].take(whole).shape[0])

    @staticmethod
    def _is_fused(module: str) -> bool:
        return module.removesuffix(".base_layer").endswith(".experts")


def _padded(tensor: Any, rank: int, *, dimension: int) -> Any:
    missing = rank - tensor.shape[dimension]
    if missing <= 0:  # all experts in one pair have the rank several times
        return tensor
    import torch

    shape = list(tensor.shape)
    shape[dimension] = missing
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=dimension)


def _require_without_effect(
    unplaced: Mapping[str, str], pairs: Pairs, file: Any, settings: AdapterSettings, config: TrainerConfig
) -> None:
    """Modules that no server would apply may be left out only where their B is zero.

    Such as those of a vision tower that was adapted beside the text model, and saw no image in training.
    """
    uri = config.adopt.uri if config.adopt else ""
    lost = {m: why for m, why in unplaced.items() if not is_zero(file.get_tensor(pairs.key(m, "lora_B")))}
    if any("unembed_tokens" in module or re.search(r"\.experts\.w[123]$", module) for module in lost):
        raise refusal(
            uri,
            "has the names that Tinker gives to matrices",
            "Convert it with build_lora_adapter of tinker_cookbook.weights, or where that leaves an output "
            "layer in it with build_hf_model, and adopt what that writes",
        )
    if unknown := [module for module, why in lost.items() if why == UNKNOWN]:
        raise _other_base(f"{name_list(sorted(unknown), 3)} {UNKNOWN}", settings, config)
    for why in lost.values():
        named = name_list(sorted(m for m, of in lost.items() if of == why), 3)
        raise refusal(uri, f"adapts layers that no server would apply: {named} {why}", MERGE)


def _require_effect(placed: Mapping[str, Placed], pairs: Pairs, file: Any, uri: str) -> None:
    if all(is_zero(file.get_tensor(pairs.key(module, "lora_B"))) for module in placed):
        raise refusal(
            uri,
            "changes nothing: every LoRA B matrix is zero",
            "Adopt a folder that was saved after training",
        )


def _other_base(what: str, settings: AdapterSettings, config: TrainerConfig) -> AdapterInvalid:
    named = f"was trained on {settings.base}" if settings.base else "does not say what it was trained on"
    return refusal(
        config.adopt.uri if config.adopt else "",
        f"does not fit spec.model, {config.model.uri}: {what.rstrip('.')}",
        f"The adapter {named}: set spec.model to its base, in 16 bits",
    )


def _of_base(settings: AdapterSettings, config: TrainerConfig) -> Iterator[str]:
    """A base of another name, whose shapes fit: it may be a copy, and nobody can tell from the files."""
    named, ours = _short_name(settings.base), _short_name(config.model.uri)
    if named and named != ours:
        yield (
            f"The adapter names {settings.base} as its base, and spec.model is {config.model.uri}. Shapes "
            "fit; if it is not a copy of the same model, answers are wrong."
        )


def _short_name(model: str) -> str:
    name = model.partition("@")[0].rstrip("/").rpartition("/")[2]
    return _SAME_BASE.sub("", name).casefold()


def _of_layers(
    expected: Mapping[str, tuple[int, ...]], kind: Architecture, settings: AdapterSettings
) -> Iterator[str]:
    """Layers that the adapter leaves out, unless it says that it does."""
    if settings.raw.get("layers_to_transform") is not None:
        return
    adapted = (name.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight") for name in expected)
    have = Counter(_pattern(name) for name in adapted if not name.endswith(".weight"))
    there = Counter(_pattern(name.removesuffix(".weight")) for name in kind.tensors)
    if fewer := [f"{pattern} ({have[pattern]} of {there[pattern]})" for pattern in sorted(have)
                 if have[pattern] < there[pattern]]:  # fmt: skip
        yield f"The adapter leaves out layers, which stay as in the base: {name_list(fewer)}."


def _pattern(name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in name.split("."))
