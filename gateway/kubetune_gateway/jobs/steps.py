"""What was measured at each step: told by rank 0, kept, and shown. Pure.

A later attempt repeats steps, and a step is told again once its validation is done: of one step the value
that was measured last counts, whatever the order in which lines are read.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

from kubetune.vocabulary.json_values import dict_of, int_of, number_of

METRICS: Final = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)

MOST_STEPS: Final = 99_999_999
"""A step's number has at most eight digits: keys in S3 are sorted by it."""

_LATEST: Final = 1e11
"""Unix seconds; what is later is no time."""

_COLUMNS: Final[Mapping[str, str]] = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
    "full_valid_loss": "full_valid_loss",
    "full_valid_mean_token_accuracy": "full_valid_mean_token_accuracy",
    "train_mean_token_accuracy": "train_mean_token_accuracy",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""Columns of a result file after the step's: OpenAI's names, then those that only Azure has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimizer step that was measured."""

    step: int
    at: float
    """Unix seconds."""
    metrics: Mapping[str, float]
    """Those of METRICS that there are."""


def parse(body: bytes) -> Iterator[Step]:
    """The steps of JSON Lines; what is no step is left out, as is step 0, the base model."""
    for line in body.splitlines():
        try:
            found = dict_of(from_json(line))
        except ValueError:
            continue
        step, at = found.get("step"), number_of(found.get("time"))
        metrics = {name: number for name in METRICS if (number := number_of(found.get(name))) is not None}
        if type(step) is int and 1 <= step <= MOST_STEPS and at is not None and 0 <= at <= _LATEST:
            yield Step(step=step, at=at, metrics=metrics)


def lines(steps: Iterable[Step]) -> bytes:
    """JSON Lines, as `parse` reads them."""
    return "".join(
        json.dumps({"step": step.step, "time": step.at, **step.metrics}) + "\n" for step in steps
    ).encode()


def merged(steps: Iterable[Step]) -> list[Step]:
    """Each step once, in ascending order."""
    found: dict[int, Step] = {}
    for step in sorted(steps, key=lambda step: step.at):
        before = found.get(step.step)
        known = {} if before is None else before.metrics
        found[step.step] = Step(step=step.step, at=step.at, metrics={**known, **step.metrics})
    return [found[number] for number in sorted(found)]


def total_steps(raw: Mapping[str, Any]) -> int:
    """Steps of the whole run; 0 until they are known."""
    return int_of(dict_of(dict_of(raw.get("status")).get("plan")).get("totalSteps"))


def table(steps: Sequence[Step]) -> bytes:
    """The result file: CSV with a row for each step, and nothing where nothing was measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *_COLUMNS])
    for step in steps:
        writer.writerow([step.step, *(step.metrics.get(name, "") for name in _COLUMNS.values())])
    return text.getvalue().encode()
