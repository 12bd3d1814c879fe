"""Estimates steps, memory of one rank, and duration, before a GPU is held: arithmetic, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.architecture import Architecture
from ..contract.config import TrainerConfig, TrainingConfig
from ..contract.errors import DoesNotFit, InvalidInput
from ..contract.messages import PlanSummary
from ..contract.messages_base import MOST_SECONDS
from ..data.sampler import planned_steps
from . import gpus, smallest
from .looks import ValidationPlan
from .memory import memory_of, tokens_per_pass

NOTHING = PlanSummary(total_steps=0, trainable_parameters=0, memory_per_gpu_bytes=0, estimated_seconds=0)
"""Of a job that trains nothing."""

_CPU_FLOPS = 8e10  # of one busy core (measured: 217 tokens/s on two, 135 M parameters)
_STARTUP_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the estimate needs to know of the data."""

    rows: int
    tokens: int
    longest: int
    """Tokens of the longest row."""
    validation_rows: int = 0
    validation_tokens: int = 0


def require_batch(config: TrainerConfig) -> None:
    """Refuse a global batch that the ranks cannot share."""
    training = config.training
    if training.batch_size % training.world_size:
        raise InvalidInput(
            f"training.batchSize {training.batch_size} cannot be shared by {training.world_size} processes "
            f"({training.nodes} nodes with {training.processes_per_node} each): make it a multiple of "
            f"{training.world_size}."
        )


def plan(config: TrainerConfig, architecture: Architecture, trained: int, shape: Shape) -> PlanSummary:
    """Estimate a run; raises DoesNotFit when it needs more than the platform's GPUs have."""
    training = config.training
    require_batch(config)
    steps = planned_steps(
        shape.rows, training.batch_size, epochs=training.epochs, max_steps=training.max_steps
    )
    gpu = gpus.of_platform(config) if training.gpus_per_node else None
    width = gpu.width if gpu else 2
    limit = gpus.memory_bytes(config) if training.gpus_per_node else None
    budget = tokens_per_pass(training, architecture, trained, longest=shape.longest, limit=limit, width=width)
    rows_per_rank = -(-training.batch_size // training.world_size)
    largest = max(shape.longest, min(budget, rows_per_rank * shape.longest))
    memory = memory_of(training, architecture, trained, largest, width=width).total
    if limit is not None and memory > limit:
        other = smallest.sentence(training, architecture, trained, shape.longest, limit, width=width)
        raise DoesNotFit(
            f"Training needs about {memory / 1e9:.0f} GB on each GPU for a row of {shape.longest:,} tokens, "
            f"but it has {limit / 1e9:.0f} GB. {other} {_knobs(training)}."
        )
    rows = min(steps * training.batch_size, training.epochs * shape.rows)
    tokens = rows * shape.tokens / max(1, shape.rows)
    # Forward and backward: 6 operations per weight and token; 4 where most weights get no gradient.
    weights = 6 if training.adapter.full else 4
    operations = architecture.parameters * (weights * tokens + 2 * _scored_tokens(training, shape))
    on_gpu = gpu.speed if gpu else gpus.UNKNOWN_SPEED
    speed = (on_gpu if training.gpus_per_node else _CPU_FLOPS) * training.world_size
    return PlanSummary(
        total_steps=steps,
        trainable_parameters=trained,
        memory_per_gpu_bytes=memory,
        tokens_per_pass=budget,
        estimated_seconds=min(round(_STARTUP_SECONDS + operations / speed), MOST_SECONDS),
    )


def _scored_tokens(training: TrainingConfig, shape: Shape) -> float:
    """Tokens of all looks at the validation rows, which only go forward."""
    looks = ValidationPlan.of(training, train_rows=shape.rows, validation_rows=shape.validation_rows)
    return looks.rows_from(0) * shape.validation_tokens / shape.validation_rows if looks else 0


def _knobs(training: TrainingConfig) -> str:
    """What makes the run smaller, the most effective first."""
    knobs = []
    if training.adapter.full:
        knobs.append("train an adapter (adapter.type: LoRA)")
    if training.adapter.type == "LoRA" and training.zero_stage < 3:
        knobs.append("keep the base in 4 bits (adapter.type: QLoRA)")
    if training.zero_stage < 3 and training.world_size > 1:
        knobs.append("raise training.deepspeed.zeroStage to 3")
    if training.world_size == 1 or training.zero_stage == 3:
        knobs.append("use more GPUs with zeroStage 3")
    return f"Use a smaller model, lower dataset.maxLength, {', '.join(knobs)}, or use GPUs with more memory"
