"""Questions to score answers of."""

from __future__ import annotations

from typing import Any

from kubetune_trainer.contract.evaluation import MetricConfig, MetricType
from kubetune_trainer.scoring.metrics import Said, metric_of, misfit
from kubetune_trainer.scoring.questions import PLAIN, Prompt, Question


def question(expected: str = "", *calls: dict[str, Any]) -> Question:
    """A question with this expected answer."""
    return Question(
        id="1",
        file="rows.jsonl",
        line=1,
        turn=1,
        expected=expected,
        expected_calls=calls,
        prompts={PLAIN: Prompt(messages=({"role": "user", "content": "?"},), tokens=1)},
    )


def metric(type: MetricType, **fields: Any) -> MetricConfig:
    """A metric by its type and fields."""
    return MetricConfig(name="m", type=type, **fields)


def score(config: MetricConfig, expected: str, said: str) -> float:
    """What an answer is worth."""
    return metric_of(config).score(question(expected), Said(said))


def why_not(config: MetricConfig, expected: str) -> str | None:
    """Why a question with this expected answer cannot be scored."""
    return misfit(config, question(expected))
