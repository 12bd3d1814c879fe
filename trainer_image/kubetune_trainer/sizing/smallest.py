"""The smallest set-up that holds a job which does not fit: what its author can choose instead."""

from __future__ import annotations

from collections.abc import Iterator

from ..base.architecture import Architecture
from ..contract.config import TrainingConfig
from .memory import memory_of

_MOST_GPUS = 64


def sentence(
    training: TrainingConfig,
    architecture: Architecture,
    trained: int,
    longest: int,
    limit: int,
    *,
    width: int = 2,
) -> str:
    """Name it, for the longest row of so many tokens and GPUs with ``limit`` bytes."""
    for other in _others(training):
        needed = memory_of(other, architecture, trained, longest, width=width).total
        if needed <= limit:
            return f"{_name(other, training)} would need {needed / 1e9:.0f} GB on each."
    return f"No set-up of up to {_MOST_GPUS} such GPUs holds it."


def _others(training: TrainingConfig) -> Iterator[TrainingConfig]:
    """Set-ups with ever more GPUs; on as many, what divides less comes first."""
    world = 1
    while world <= _MOST_GPUS:
        shared = {"nodes": 1, "gpus_per_node": world}
        if training.batch_size % world == 0:
            for stage in (2, 3):
                yield training.model_copy(update={**shared, "zero_stage": stage})
            if training.adapter.type == "LoRA":
                quantised = training.adapter.model_copy(update={"type": "QLoRA"})
                yield training.model_copy(update={**shared, "zero_stage": 2, "adapter": quantised})
        world *= 2


def _name(other: TrainingConfig, training: TrainingConfig) -> str:
    """What differs, as the spec calls it."""
    gpus = "1 GPU" if other.world_size == 1 else f"{other.world_size} GPUs"
    changed = [f"deepspeed.zeroStage {other.zero_stage}"] if other.world_size > 1 else []
    if other.adapter.type != training.adapter.type:
        changed.append(f"adapter.type {other.adapter.type}")
    return f"{gpus} with {' and '.join(changed)}" if changed else gpus
