"""Estimates steps, memory of one rank, and duration, before a GPU is held: arithmetic, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.architecture import Architecture
from ..contract.config import TrainerConfig, TrainingConfig
from ..contract.errors import DoesNotFit, InvalidInput
from ..contract.messages import MOST_SECONDS, PlanSummary
from ..data.sampler import Batching, planned_steps
from ..methods.table import METHODS
from .looks import ValidationPlan

_GPU_OVERHEAD = 1_500_000_000  # CUDA context, NCCL buffers, fragmentation
_CPU_OVERHEAD = 1_400_000_000  # a Python process with torch and DeepSpeed (measured)
_OPTIMIZER_BYTES = 12  # float32 copy and Adam's two moments
_LAYER_BYTES = 34  # activations per token and hidden unit of one layer at 2 bytes a number (Korthikanti 2022)

_GPU_FLOPS = 1.2e14  # of an A100 or H100, at the utilisation that small batches reach
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
    batching = Batching.of(training.batch_size, training.world_size, longest=shape.longest)
    steps = planned_steps(
        shape.rows, training.batch_size, epochs=training.epochs, max_steps=training.max_steps
    )
    memory = _memory(config, architecture, trained, batching.micro_batch * shape.longest)
    limit = config.gpu_memory_bytes
    if limit is not None and training.gpus_per_node and memory > limit:
        raise DoesNotFit(
            f"Training needs about {memory / 1e9:.0f} GB on each GPU, which has {limit / 1e9:.0f} GB. "
            f"{_knobs(config, batching)}."
        )
    rows = min(steps * training.batch_size, training.epochs * shape.rows)
    tokens = rows * shape.tokens / max(1, shape.rows)
    # Forward and backward: 6 operations per weight and token; 4 where most weights get no gradient.
    weights = 6 if training.adapter.type == "Full" else 4
    operations = architecture.parameters * (weights * tokens + 2 * _scored_tokens(training, shape))
    speed = (_GPU_FLOPS if training.gpus_per_node else _CPU_FLOPS) * training.world_size
    return PlanSummary(
        total_steps=steps,
        trainable_parameters=trained,
        memory_per_gpu_bytes=memory,
        estimated_seconds=min(round(_STARTUP_SECONDS + operations / speed), MOST_SECONDS),
    )


def _scored_tokens(training: TrainingConfig, shape: Shape) -> float:
    """Tokens of all looks at the validation rows, which only go forward."""
    looks = ValidationPlan.of(training, train_rows=shape.rows, validation_rows=shape.validation_rows)
    return looks.rows_from(0) * shape.validation_tokens / shape.validation_rows if looks else 0


def _memory(config: TrainerConfig, architecture: Architecture, trained: int, tokens: int) -> int:
    """Bytes of one rank: weights, gradients and optimizer by ZeRO stage, activations of one forward pass."""
    training, text = config.training, architecture.config.get_text_config()
    world, stage = training.world_size, training.zero_stage
    on_gpu = training.gpus_per_node > 0
    width = 2 if on_gpu else 4  # CPUs without bf16 compute in float32
    weights = width * architecture.parameters / (world if stage == 3 else 1)
    gradients = width * trained / (world if stage >= 2 else 1)
    optimizer = _OPTIMIZER_BYTES * trained / (world if stage >= 1 else 1)
    hidden, layers = text.hidden_size, text.num_hidden_layers
    layer = _LAYER_BYTES * hidden * tokens * width / 2
    # On GPU activations are recomputed layer by layer, so that only each layer's input is kept.
    activations = layer + layers * width * hidden * tokens if on_gpu else layers * layer
    logits = METHODS[training.method].head_bytes(tokens, text.vocab_size)
    overhead = _GPU_OVERHEAD if on_gpu else _CPU_OVERHEAD
    return round(weights + gradients + optimizer + activations + logits + overhead)


def _knobs(config: TrainerConfig, batching: Batching) -> str:
    """What makes the run smaller, the most effective first."""
    training = config.training
    knobs = []
    if training.adapter.type == "Full":
        knobs.append("train an adapter (adapter.type: LoRA)")
    if training.zero_stage < 3 and training.world_size > 1:
        knobs.append("raise training.deepspeed.zeroStage to 3")
    if training.world_size == 1 or training.zero_stage == 3:
        knobs.append("use more GPUs with zeroStage 3")
    if batching.micro_batch > 1:
        knobs.append("lower training.batchSize")
    return f"Use a smaller model, lower dataset.maxLength, {', '.join(knobs)}, or use GPUs with more memory"
