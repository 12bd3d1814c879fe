"""The estimate of memory beside what training took, on CPU: models of several shapes, each in its own process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dev.bench.figures import Figure
from dev.fit.case import Case, Measured
from dev.fit.run import run

PART: Final = "estimate"
WITHIN: Final = 15
"""Percent that the estimate may be off."""


def _llama(hidden: int, layers: int, intermediate: int, vocabulary: int, *, tied: bool = False) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 256,
        "intermediate_size": intermediate,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": tied,
    }


def _qwen3(hidden: int, layers: int, intermediate: int, vocabulary: int, *, tied: bool = True) -> dict[str, Any]:
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128, "head_dim": 128}
    return _llama(hidden, layers, intermediate, vocabulary, tied=tied) | {"model_type": "qwen3"} | heads


CASES: Final = (
    Case(name="Llama, LoRA", shape=_llama(1024, 12, 2816, 32_000), adapter="LoRA", row_tokens=1024),
    Case(name="Llama, LoRA, rows of 2,048", shape=_llama(512, 16, 2048, 32_000), adapter="LoRA", row_tokens=2048),
    Case(
        name="Qwen3, LoRA, short rows",
        shape=_qwen3(1024, 10, 3072, 32_000),
        adapter="LoRA",
        row_tokens=128,
        rows_per_pass=8,
        passes=2,
    ),
    Case(name="Qwen3, LoRA, 152k words", shape=_qwen3(1024, 8, 3072, 151_936), adapter="LoRA", row_tokens=1024),
    Case(name="Llama, Full", shape=_llama(768, 8, 2048, 32_000), adapter="Full", row_tokens=512),
    Case(name="Llama, Full, 128k words", shape=_llama(512, 6, 1408, 128_256), adapter="Full", row_tokens=512),
    Case(name="Qwen3, Full, 152k words", shape=_qwen3(512, 8, 1536, 151_936), adapter="Full", row_tokens=1024),
    Case(name="Qwen3, Full", shape=_qwen3(1024, 8, 3072, 32_000), adapter="Full", row_tokens=1024),
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
