"""What was measured at each step of the run, for those who ask rank 0's /steps.

The training thread writes; server threads read a bounded part, and never copy the whole.
"""

from __future__ import annotations

import json
import math
import threading
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_LINES = 1000
"""Of one answer: who wants more asks again, after the last step that was told."""

_NAMES = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "validation_loss": "valid_loss",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "full_validation_loss": "full_valid_loss",
    "full_validation_mean_token_accuracy": "full_valid_mean_token_accuracy",
}
"""Keys of metrics.jsonl, and OpenAI's names for them."""

_LISTENS_FOR = 60.0
"""Seconds since its last question that a reader is counted on to ask again."""

_WAIT = 15.0
"""Seconds that the process stays for its reader: far less than it took to come here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Some steps in ascending order."""

    body: bytes
    """One JSON object per line."""
    state: int | None
    """Stands for everything that was measured, if this answer reaches to its end."""


class MeasuredSteps:
    """Every step that was measured, over all attempts."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._steps: list[int] = []
        self._values: dict[int, dict[str, Any]] = {}
        self._state = self._told = 0
        self._asked_at: float | None = None

    def add(self, line: Mapping[str, Any]) -> None:
        """Take over what a line of metrics.jsonl says; a step may have several."""
        step = line["step"]
        found = {name: line[key] for key, name in _NAMES.items() if key in line and math.isfinite(line[key])}
        with self._changed:
            before = self._values.get(step)
            if before is None:
                insort(self._steps, step)
                before = {"step": step, "time": line["time"]}
            self._values[step] = {**before, **found}  # anew: an answer may hold the one before
            self._state += 1

    def after(self, step: int) -> Answer:
        """The steps after one, MOST_LINES at most."""
        with self._changed:
            self._asked_at = self._now()
            first = bisect_right(self._steps, step)
            chosen = self._steps[first : first + MOST_LINES]
            values = [self._values[each] for each in chosen]
            state = self._state if first + len(chosen) == len(self._steps) else None
        body = "".join(json.dumps(value) + "\n" for value in values)
        return Answer(body=body.encode(), state=state)

    def told(self, answer: Answer) -> None:
        """A reader has got an answer."""
        if answer.state is not None:
            with self._changed:
                self._told = max(self._told, answer.state)
                self._changed.notify_all()

    def wait_for_reader(self, seconds: float = _WAIT) -> bool:
        """Wait until somebody who asked a moment ago has been told the last step; False where that is not so.

        Nobody has to ask: then there is no wait.
        """
        with self._changed:
            if self._asked_at is None or self._now() - self._asked_at > _LISTENS_FOR:
                return False
            return self._changed.wait_for(lambda: self._told == self._state, seconds)
