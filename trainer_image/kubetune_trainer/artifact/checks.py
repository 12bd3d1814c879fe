"""Checks of trained weights, on the files as they were written, before anything may serve them.

A serving engine that loads a wrong adapter may crash, or answer like the base model, which is worse.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.checkpoint import Shapes
from ..base.stored_names import PEFT_PREFIX
from ..contract.errors import AdapterInvalid, name_list

if TYPE_CHECKING:
    import torch

_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_LORA_B = ".lora_B."
_PART = 1 << 24
"""Numbers of a tensor that are looked at together: prepare has little memory."""


def check_weights(
    directory: Path,
    expected: Mapping[str, tuple[int, ...]],
    *,
    lora: bool,
    untrained: Collection[str] = (),
) -> None:
    """Compare the safetensors files of a directory with the names and shapes that they must hold.

    ``untrained`` are last parts of names whose tensors may be of another type than the trained ones.

    Raises:
        AdapterInvalid: tensors are missing, left over, empty, of the wrong shape, not finite, of several
        types, or
            LoRA's B is still zero in every module; the message names them.
        OSError: the volume did not let a file be read.
    """
    pickles = sorted(path.name for path in directory.rglob("*") if path.suffix in _PICKLES)
    _refuse(pickles, "are not safetensors files")
    tensors = _Tensors(directory)
    _refuse(sorted(expected.keys() - tensors.shapes.keys()), "are missing")
    _refuse(sorted(tensors.shapes.keys() - expected.keys()), "belong to no module that was trained")
    _refuse([name for name, shape in tensors.shapes.items() if 0 in shape], "are empty")
    _refuse(
        [
            f"{name} {list(tensors.shapes[name])} instead of {list(shape)}"
            for name, shape in expected.items()
            if tensors.shapes[name] != tuple(shape)
        ],
        "have a shape that does not fit the base model and the rank",
    )
    types = {str(kind) for name, kind in tensors.types.items() if name.rpartition(".")[2] not in untrained}
    if len(types) > 1:
        raise AdapterInvalid(f"The trained tensors are of several types: {name_list(sorted(types))}.")
    _refuse(tensors.not_finite, "hold NaN or infinite numbers")
    if lora and all(tensors.zero[name] for name in expected if _LORA_B in name):
        raise AdapterInvalid(
            "Every LoRA B matrix is zero: nothing was learned. Raise learningRate, epochs or maxSteps."
        )


def check_named_after_base(adapter: Shapes, base: Shapes) -> None:
    """Compare names and shapes of an adapter with the base model's own files, as a server will.

    Each A and B belong to a matrix of the base model, [out, in]: A is [rank, in] and B is [out, rank].

    Raises:
        AdapterInvalid: some would be passed over or padded by a server, which says nothing of it.
    """
    pairs: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, shape in adapter.items():
        module, _, matrix = name.removeprefix(PEFT_PREFIX).removesuffix(".weight").rpartition(".")
        pairs[module][matrix] = shape
    strangers, halves, misfits = [], [], []
    for module, pair in pairs.items():
        inputs, outputs = pair.get("lora_A"), pair.get("lora_B")
        if inputs is None or outputs is None or len(pair) != 2:
            halves.append(module)
        elif (fits := _fits(module, inputs, outputs, base)) is None:
            strangers.append(module)
        elif not fits:
            misfits.append(module)
    _refuse(strangers, "are no matrices of the base model's files")
    _refuse(halves, "have not both of A and B")
    _refuse(misfits, "have a shape that does not fit the base model's files")


def _fits(module: str, inputs: tuple[int, ...], outputs: tuple[int, ...], base: Shapes) -> bool | None:
    """Whether a pair fits the matrix, or the stacked experts, that it is named after; None without one."""
    if (shape := base.get(f"{module}.weight")) is not None:
        return (outputs[0], inputs[1]) == shape and inputs[0] == outputs[1]
    projection = "gate_up_proj" if module.endswith(".base_layer") else "down_proj"
    if (shape := base.get(f"{module.removesuffix('.base_layer')}.{projection}")) is not None:
        return sorted((outputs[0], inputs[1])) == sorted(shape[1:]) and inputs[0] == outputs[1]
    return None


def require_finite(directory: Path) -> None:
    """Refuse weights that are not numbers, or of which nothing is left.

    Raises:
        AdapterInvalid: some are not finite or empty; the message names them.
        OSError: the volume did not let a file be read.
    """
    tensors = _Tensors(directory)
    _refuse([name for name, shape in tensors.shapes.items() if 0 in shape], "are empty")
    _refuse(tensors.not_finite, "hold NaN or infinite numbers")


class _Tensors:
    """What the files hold: a part of one tensor in memory at a time."""

    def __init__(self, directory: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, torch.dtype] = {}
        self.zero: dict[str, bool] = {}
        self.not_finite: list[str] = []
        for path in sorted(directory.glob("*.safetensors")):
            try:
                with safe_open(path, framework="pt") as file:
                    for name in file.keys():  # noqa: SIM118 - it is no dict
                        self._add(name, file.get_tensor(name))
            except SafetensorError as error:
                raise AdapterInvalid(f"{path.name} cannot be read: {error}") from error

    def _add(self, name: str, tensor: torch.Tensor) -> None:
        self.shapes[name] = tuple(tensor.shape)
        self.types[name] = tensor.dtype
        # The sum of absolute values tells both, in one pass and without a mask: NaN and inf survive a sum.
        flat = tensor.reshape(-1)
        parts = (flat[begin : begin + _PART] for begin in range(0, flat.numel(), _PART))
        total = math.fsum(float(part.float().abs().sum()) for part in parts)
        self.zero[name] = total == 0
        if not math.isfinite(total):
            self.not_finite.append(name)


def _refuse(names: list[str], what: str) -> None:
    if names:
        raise AdapterInvalid(f"The trained weights did not pass their checks: {name_list(names)} {what}.")
