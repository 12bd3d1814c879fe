"""The estimate of memory beside what training took, on CPU: several shapes, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dev.bench.figures import Figure
from dev.fit.case import Case, Measured
from dev.fit.run import run

PART: Final = "estimate"
WITHIN: Final = 15
"""Percent that the estimate may be off."""


def _llama(hidden: int, layers: int, intermediate: int, vocabulary: int, *, tied: bool) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 128,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": tied,
    }


def _qwen3(hidden: int, layers: int, intermediate: int, vocabulary: int, *, tied: bool) -> dict[str, Any]:
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128, "head_dim": 128}
    return _llama(hidden, layers, intermediate, vocabulary, tied=tied) | {"model_type": "qwen3"} | heads


# Narrow and deep, or with few tokens: memory of gigabytes, and computed within seconds.
CASES: Final = (
    Case(
        name="Llama, LoRA",
        shape=_llama(256, 24, 1024, 32_000, tied=False),
        adapter="LoRA",
        row_tokens=1024,
        rows_per_pass=2,
    ),
    Case(
        name="Llama, LoRA, one long row",
        shape=_llama(256, 24, 768, 32_000, tied=True),
        adapter="LoRA",
        row_tokens=2560,
    ),
    Case(
        name="Qwen3, LoRA, short rows",
        shape=_qwen3(256, 24, 768, 32_000, tied=True),
        adapter="LoRA",
        row_tokens=128,
        rows_per_pass=16,
        passes=2,
    ),
    Case(
        name="Qwen3, LoRA, 152k words",
        shape=_qwen3(512, 16, 1536, 151_936, tied=False),
        adapter="LoRA",
        row_tokens=768,
    ),
    Case(
        name="Llama, Full",
        shape=_llama(768, 8, 2048, 16_000, tied=False),
        adapter="Full",
        row_tokens=128,
    ),
    Case(
        name="Llama, Full, 128k words",
        shape=_llama(256, 8, 1024, 128_256, tied=False),
        adapter="Full",
        row_tokens=256,
    ),
    Case(
        name="Qwen3, Full, 152k words",
        shape=_qwen3(256, 16, 768, 151_936, tied=True),
        adapter="Full",
        row_tokens=1024,
    ),
    Case(
        name="Qwen3, Full",
        shape=_qwen3(512, 16, 1536, 16_000, tied=True),
        adapter="Full",
        row_tokens=512,
    ),
)


def measure() -> list[Figure]:
    """Train each, and compare."""
    return [_figure(case, found) for case, found in results()]


def results() -> Iterator[tuple[Case, Measured]]:
    """What each case took."""
    for case in CASES:
        yield case, run(case)


def _figure(case: Case, found: Measured) -> Figure:
    estimate = case.estimate(found.trained).total
    return Figure(
        part=PART,
        name=f"estimate of {case.name}",
        value=100 * abs(estimate / found.peak_bytes - 1),
        unit="% off",
        bar=WITHIN,
        note=f"{estimate / 1e9:.2f} GB estimated, {found.peak_bytes / 1e9:.2f} measured, "
        f"{found.before_bytes / 1e9:.2f} without a model",
    )
