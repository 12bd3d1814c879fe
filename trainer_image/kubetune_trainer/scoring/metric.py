"""What every metric is: a name, and a score from 0 to 1 for what was said to a question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from .questions import Question


@dataclass(frozen=True)
class Said:
    """What a candidate answered."""

    text: str
    tool_calls: tuple[dict[str, Any], ...] = ()
    """In OpenAI's format; arguments may be JSON text, as servers send them, or objects."""


class Metric(Protocol):
    """A rule that scores answers; pure."""

    name: str
    """As the spec has it: unique among the metrics."""

    def score(self, question: Question, said: Said) -> float:
        """From 0 to 1."""
        ...

    def misfit(self, question: Question) -> str | None:
        """Why the question cannot be scored by it, as the end of a sentence; None where it can."""
        ...
