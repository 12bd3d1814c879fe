"""Weights of a model whose parameters ZeRO may have split: collected on rank 0, and set again on all."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..base.adapters import full_shape
from ..gang.peers import Peers

_GATHERED_AT_ONCE = 1 << 30
"""Bytes that ZeRO-3 puts together in one go: few collectives, and little memory beside the model."""


def gather(model: Any, peers: Peers, *, whole: bool) -> dict[str, Any]:
    """Trained tensors, or the whole model, on rank 0's CPU; empty on the other ranks.

    ZeRO-3 has split parameters, which are put together; buffers, such as the bias of an expert router, are
    whole on every rank."""
    weights: dict[str, Any] = {}
    for part in _parts(_wanted(model, whole=whole)):
        with _put_together([parameter for _, parameter in part]):
            if peers.rank == 0:
                weights.update((name, parameter.detach().to("cpu", copy=True)) for name, parameter in part)
    if whole and peers.rank == 0:
        weights.update((name, buffer.to("cpu", copy=True)) for name, buffer in buffers(model).items())
    return weights


def restore(model: Any, path: Path, *, whole: bool) -> None:
    """Set what ``gather`` has collected, from a safetensors file, which every rank reads.

    The optimizer's own copies of the weights stay as they are: no step may follow.
    """
    import torch
    from safetensors import safe_open

    with torch.no_grad(), safe_open(path, framework="pt") as file:
        for part in _parts(_wanted(model, whole=whole)):
            with _put_together([parameter for _, parameter in part], written=True):
                for name, parameter in part:
                    parameter.copy_(file.get_tensor(name))
        if whole:
            for name, buffer in buffers(model).items():
                buffer.copy_(file.get_tensor(name))


def buffers(model: Any) -> dict[str, Any]:
    """Buffers that belong to the model's files."""
    stored = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in stored}


def _wanted(model: Any, *, whole: bool) -> list[tuple[str, Any]]:
    return [
        (name, parameter) for name, parameter in model.named_parameters() if whole or parameter.requires_grad
    ]


def _parts(wanted: list[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """The same in parts of so many bytes; a tensor that has more is a part by itself."""
    part: list[tuple[str, Any]] = []
    size = 0
    for name, parameter in wanted:
        more = math.prod(full_shape(parameter)) * parameter.element_size()
        if part and size + more > _GATHERED_AT_ONCE:
            yield part
            part, size = [], 0
        part.append((name, parameter))
        size += more
    if part:
        yield part


def _put_together(parameters: list[Any], *, written: bool = False) -> Any:
    """Context in which parameters are whole; those that are written in it must be on every rank."""
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return contextlib.nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters, modifier_rank=0 if written else None)
