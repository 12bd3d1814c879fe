"""Memory of one rank, and how many tokens a forward pass may have: arithmetic, without torch."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields

from ..base.architecture import Architecture
from ..contract.config import TrainingConfig
from ..methods.table import METHODS
from .activations import layer_of
from .buckets import LIVE_PARAMETERS, bucket_elements

CPU_TOKENS = 1024
"""Tokens of a pass on CPU: more make it no faster there (measured), and activations are kept for each."""

MOST_TOKENS = 16_384
"""Tokens of a pass on a GPU, at most: they keep its units busy, and more only take memory."""

_STEP = 64  # tokens that kernels take at once
SHARE = 0.92
"""Of a GPU's memory: the estimate is none to the last byte, and allocators leave gaps."""

_GPU_OVERHEAD = 1_500_000_000  # CUDA context, NCCL buffers, fragmentation
_CPU_OVERHEAD = 1_100_000_000  # a Python process with torch and DeepSpeed (measured)
_CPU_PIECES = 1.7
"""Of the heap in a step to what it holds (measured: 1.4 to 2.0): pieces that fit none of the next tensors."""
_OPTIMIZER_BYTES = 12  # float32 copy and Adam's two moments
_COPY_BYTES = 4  # of its part of the gradient that ZeRO makes for the step, in float32 (DeepSpeed 0.19)
_ADAM_BYTES = 4  # the denominator, for all weights at once (torch 2.13)
_NF4_BYTES = 0.5 + 1 / 64 + 4 / 64 / 256  # a scale of 1 byte for 64 weights, one of 4 for 256 of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one rank."""

    weights: int
    gradients: int
    optimizer: int
    step: int
    """What the optimizer's step takes beyond what backward has left."""
    gathered: int
    """Weights of other ranks that ZeRO-3 has asked them for."""
    buckets: int
    """Gradients on their way to other ranks."""
    activations: int
    head: int
    """Logits and their gradient, and that of a trained output layer."""
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def memory_of(
    training: TrainingConfig, architecture: Architecture, trained: int, tokens: int, *, width: int = 2
) -> Memory:
    """Memory of one rank by ZeRO stage; ``tokens`` are those of its largest pass, padding included.

    ``width`` is the bytes of a number on GPU: 4 where it has no bf16."""
    text, world, stage = architecture.config.get_text_config(), training.world_size, training.zero_stage
    on_gpu = training.gpus_per_node > 0
    width = width if on_gpu else 4  # CPUs without bf16 compute in float32
    full = training.adapter.full
    layer = layer_of(text, full=full, half=width == 2)
    # On GPU activations are recomputed layer by layer, so that only each layer's input is kept.
    kept = text.num_hidden_layers * (text.hidden_size if on_gpu else layer.saved)
    kept += layer.backward + (layer.saved if on_gpu else 0)
    pieces = 1 if on_gpu else _CPU_PIECES
    divided = stage == 3 and world > 1
    bucket = bucket_elements(training, architecture.parameters)
    head = METHODS[training.method].head_bytes(tokens, text, on_gpu=on_gpu)
    if full:  # the sum over chunks in float32, and a chunk's part of it
        head += text.vocab_size * text.hidden_size * (4 + width)
    activations = round(pieces * width * tokens * kept)
    part = trained // (world if stage else 1)
    step = (_ADAM_BYTES + (_COPY_BYTES if stage else 0)) * part
    return Memory(
        weights=_weights(training, architecture, width) // (world if stage == 3 else 1),
        gradients=width * trained // (world if stage >= 2 else 1),
        optimizer=_OPTIMIZER_BYTES * part,
        step=max(0, step - activations - head),
        gathered=width * min(architecture.parameters, LIVE_PARAMETERS) if divided else 0,
        # On CPU only what is written of a bucket is in memory.
        buckets=width * (bucket if on_gpu else min(bucket, trained)) if stage else 0,
        activations=activations,
        head=head,
        overhead=_GPU_OVERHEAD if on_gpu else _CPU_OVERHEAD,
    )


def _weights(training: TrainingConfig, architecture: Architecture, width: int) -> int:
    """Bytes of the model; of QLoRA's only linear layers are quantised, and of models with experts a few."""
    text, parameters = architecture.config.get_text_config(), architecture.parameters
    experts = any(getattr(text, name, None) for name in ("num_experts", "num_local_experts"))
    if training.adapter.type != "QLoRA" or experts:
        return width * parameters
    tables = text.vocab_size * text.hidden_size * (1 if text.tie_word_embeddings else 2)
    return round(_NF4_BYTES * (parameters - tables)) + width * tables


def tokens_per_pass(
    training: TrainingConfig,
    architecture: Architecture,
    trained: int,
    *,
    longest: int,
    limit: int | None,
    width: int = 2,
) -> int:
    """Padded tokens that a pass of one rank may have: as many as its GPU holds, and pay.

    ``longest`` is the longest row, which has a pass of its own if nothing else fits; ``limit`` is the memory
    of a GPU in bytes, if it is known."""
    if not training.gpus_per_node:
        return CPU_TOKENS
    if limit is None:
        return max(longest, MOST_TOKENS)

    def needed(tokens: int) -> int:
        return memory_of(training, architecture, trained, tokens, width=width).total

    sizes = range(_STEP, MOST_TOKENS + 1, _STEP)
    fitting = bisect_right(sizes, SHARE * limit, key=needed)  # more tokens never need less
    return max(longest, sizes[fitting - 1] if fitting else 0)
