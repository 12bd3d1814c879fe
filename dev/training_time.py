"""docs/how-to/estimate-time-and-cost.md: how long training takes, from the estimator that prepare uses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dev.choose_gpus import config_of, smallest
from dev.shapes import SHAPES, architecture_of, trained_by_lora
from kubetune_trainer.base.architecture import Architecture
from kubetune_trainer.sizing import gpus
from kubetune_trainer.sizing.estimate import Shape, plan

TYPES: Final = ("L4", "A10G", "L40S", "A100-80GB", "H100-80GB", "H200-141GB")
"""Columns of the table."""

_MANY: Final = 1_000_000_000
"""Tokens over which the time of one is taken, so that neither start-up nor rounding shows."""
_EXAMPLE: Final = ("Qwen3-8B", "H100-80GB")
_PRICE: Final = 2.5

_PAGE: Final = Path(__file__).with_suffix(".md.txt")
"""The page, with the places of its numbers in braces."""


def page() -> str:
    """The page as Markdown."""
    models = {name: architecture_of(shape) for name, shape in SHAPES.items()}
    trained = {name: trained_by_lora(shape) for name, shape in SHAPES.items()}
    minutes = {
        (name, gpu): gpu_minutes(model, trained[name], "LoRA", gpu)
        for name, model in models.items()
        for gpu in TYPES
    }
    head = [f"| model | {' | '.join(TYPES)} |", f"|---|{'---|' * len(TYPES)}"]
    body = [f"| {name} | {' | '.join(_cell(minutes[name, gpu]) for gpu in TYPES)} |" for name in models]
    name, gpu = _EXAMPLE
    full = gpu_minutes(models[name], models[name].parameters, "Full", gpu)
    published = "Llama-3.1-8B"
    a6000 = gpu_minutes(models[published], trained[published], "LoRA", "RTX-A6000")
    one = minutes[_EXAMPLE]
    rows, row_tokens, epochs = 10_000, 500, 3
    millions = rows * row_tokens * epochs / 1e6
    return _PAGE.read_text().format(
        share=100 * gpus.UTILISATION,
        unknown=gpus.UNKNOWN_SPEED / 1e12,
        table="\n".join([*head, *body, ""]),
        full=full / one,
        rows=f"{rows:,}",
        row_tokens=row_tokens,
        millions=millions,
        model=name,
        minutes=one,
        total=millions * one,
        gpu=gpu,
        price=_PRICE,
        cost=millions * one / 60 * _PRICE,
        a6000=1e6 / 60 / a6000,
        ratio=4699 * 60 * a6000 / 1e6,
    )


def gpu_minutes(model: Architecture, trained: int, method: str, gpu: str) -> float:
    """GPU-minutes for a million tokens, on the smallest set-up that holds the model; there has to be one."""
    setup = smallest(model, trained, method, gpu)
    if setup is None:
        raise ValueError(f"no number of {gpu} holds {model.name} with {method}")
    config = config_of(method, gpu, nodes=setup.nodes, per_node=setup.gpus, stage=setup.stage)
    one, two = (
        plan(config, model, trained, Shape(rows=1000, tokens=tokens, longest=2048)).estimated_seconds
        for tokens in (_MANY, 2 * _MANY)
    )
    return (two - one) / 60 * setup.nodes * setup.gpus / (_MANY / 1e6)


def _cell(minutes: float) -> str:
    return f"{minutes:.2f}" if minutes < 1 else f"{minutes:.1f}"
