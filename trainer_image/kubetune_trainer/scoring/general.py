"""The general questions that the project ships: whether a fine-tuned model can still do what its base could.

Common knowledge, arithmetic and words, of the kind that even small instruct models get right at times:
SmolLM2-135M-Instruct has 34 of 60. They tell a model that has forgotten from one that has not; they do not
tell good models apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Final, NamedTuple

from ..contract.evaluation import MetricConfig
from .words import ALL

GENERAL_FILE: Final = "general.jsonl"
"""Beside this module: ``ask`` and ``expected``."""

GENERAL_METRIC: Final = MetricConfig(name="Contains", type="Contains", ignore=ALL)
"""How they are scored: an answer may be a sentence."""


class GeneralQuestion(NamedTuple):
    """A question that has one short answer."""

    id: str
    """As of a question of the set General: ``general-<line>``."""
    line: int
    """From 1."""
    ask: str
    """What the user says."""
    expected: str


def general_questions() -> Iterator[GeneralQuestion]:
    """Yield the general questions; they have no system message."""
    with (files(__package__) / GENERAL_FILE).open(encoding="utf-8") as lines:
        for line, text in enumerate(lines, start=1):
            row = json.loads(text)
            yield GeneralQuestion(f"general-{line}", line, row["ask"], row["expected"])
