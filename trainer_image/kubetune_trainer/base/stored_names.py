"""What the parts of a loaded model are called in its checkpoint.

transformers loads many checkpoints under names of its own: it takes the text model out of one with images,
renames blocks, and stacks the matrices of experts. Servers go by the names in the checkpoint, and an adapter
with others is served as the base model without a word. The names come from the rules by which transformers
itself loads this checkpoint, and not from a table of models.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..contract.errors import InvalidInput, name_list
from .adapters import full_shape, lora_modules
from .checkpoint import Shapes

PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor of a published adapter, as a part of the one that was trained."""

    name: str
    take: Callable[[Any], Any]


def stored_names(model: Any, stored: Iterable[str]) -> dict[str, list[str]]:
    """The tensors of a checkpoint that each parameter of the model is loaded from, in the order they are put
    together in.

    A model with adapters is treated as the one beneath; parameters that no tensor is loaded into, such as
    tied ones, are left out.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    parameters = {_without_peft(name): True for name in base.state_dict() if ".lora_" not in name}
    rules = get_model_conversion_mapping(base)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    prefix = base.base_model_prefix
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in stored:
        target, pattern = rename_source_key(name, renamings, converters, prefix, parameters)
        if target not in parameters and name in parameters:
            target, pattern = rename_source_key(name, [], [], prefix, parameters)
        if pattern is None:
            found[target].append((0, name))
            continue
        converter = next(rule for rule in converters if pattern in rule.source_patterns)
        place = converter.source_patterns.index(pattern)
        for part in converter.target_patterns:  # several where one tensor is cut into several parameters
            found[target.replace(converter.target_patterns[0], part)].append((place, name))
    return {
        target: [name for _, name in sorted(sources, key=lambda source: source[0])]
        for target, sources in found.items()
        if target in parameters
    }


def unused_patterns(model: Any) -> list[re.Pattern[str]]:
    """Tensors that some repositories store though the architecture has no use for them."""
    return [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]


def adapter_names(model: Any, shapes: Shapes) -> dict[str, list[Piece]]:
    """What to publish in place of each tensor of an adapter, by its name as PEFT writes it.

    Works on the meta device too.

    Raises:
        InvalidInput: an adapted matrix is not one of the checkpoint, so that no server could find it.
    """
    names = stored_names(model, shapes)
    pieces: dict[str, list[Piece]] = {}
    unnamed: list[str] = []
    for module, layer in lora_modules(model).items():
        parameter = f"{_without_peft(module)}.{getattr(layer, 'parameter_name', 'weight')}"
        sources = names.get(parameter, [])
        shape = full_shape(layer.get_param() if hasattr(layer, "get_param") else layer.base_layer.weight)
        if len(sources) == 1 and shapes[sources[0]] == shape:
            # An expert tensor that is stored as it is trained stays in PEFT's form, which servers read.
            ending = parameter.rpartition(".")[2]
            nested = ".base_layer" if module.endswith(".base_layer") else ""
            to = f"{sources[0].removesuffix(f'.{ending}')}{nested}"
            for matrix in ("lora_A", "lora_B"):
                pieces[_peft_name(module, matrix)] = [Piece(_peft_name(to, matrix), _whole)]
        elif split := _experts(sources, shapes, shape):
            for matrix in ("lora_A", "lora_B"):
                pieces[_peft_name(module, matrix)] = list(_of_experts(split, shape[0], matrix))
        else:
            unnamed.append(parameter)
    if unnamed:
        raise InvalidInput(
            f"spec.training.adapter.targetModules: {name_list(sorted(unnamed))} are not matrices of their "
            "own in the base model's files: no server would find an adapter for them. Leave them out of "
            "targetModules, or train with adapter.type Full."
        )
    return pieces


def _peft_name(module: str, matrix: str) -> str:
    return f"{PEFT_PREFIX}{module}.{matrix}.weight"


def _without_peft(name: str) -> str:
    return name.replace(".base_layer", "")


def _whole(tensor: Any) -> Any:
    return tensor


def _experts(sources: list[str], shapes: Shapes, shape: tuple[int, ...]) -> list[list[str]] | None:
    """The matrices of each expert, in the order in which they are stacked; None when it is not this form.

    ``shape`` is [experts, rows, columns] of the stacked tensor.
    """
    experts: dict[int, list[str]] = defaultdict(list)
    for name in sources:
        if (number := re.search(r"\.experts\.(\d+)\.", name)) is None or not name.endswith(".weight"):
            return None
        experts[int(number[1])].append(name)
    if len(shape) != 3 or sorted(experts) != list(range(shape[0])):
        return None
    ordered = [experts[number] for number in range(shape[0])]
    rows = [sum(shapes[name][0] for name in of) for of in ordered]
    columns = {shapes[name][1] for of in ordered for name in of}
    return ordered if set(rows) == {shape[1]} and columns == {shape[2]} else None


def _of_experts(experts: list[list[str]], count: int, matrix: str) -> Iterator[Piece]:
    """PEFT holds all experts in one pair: A is [experts x rank, in] and B is [out, rank x experts].

    Matrices that are stacked row upon row (gate and up) share the expert's A, and have their rows of its B.
    """
    for number, of in enumerate(experts):
        for place, name in enumerate(of):
            module = name.removesuffix(".weight")
            yield Piece(_peft_name(module, matrix), _slice(matrix, number, count, place, len(of)))


def _slice(matrix: str, expert: int, count: int, place: int, parts: int) -> Callable[[Any], Any]:
    def take(tensor: Any) -> Any:
        if matrix == "lora_A":
            return tensor.reshape(count, -1, tensor.shape[-1])[expert]
        rows = tensor.shape[0] // parts
        return tensor.reshape(tensor.shape[0], -1, count)[place * rows : (place + 1) * rows, :, expert]

    return take
