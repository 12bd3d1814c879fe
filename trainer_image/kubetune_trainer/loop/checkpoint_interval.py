"""When the next checkpoint is due: after so many steps, or by time and by what saving costs. Pure arithmetic.

By time it is Young's interval (CACM 17(9), 1974): with failures every M seconds and saves of d seconds, the
sum of the time that goes into saving and of the work that a failure loses is least at sqrt(2 d M)."""

from __future__ import annotations

import math
from dataclasses import dataclass

SECONDS_BETWEEN_FAILURES = 24 * 3600
"""Of a gang: evictions, drains, lost nodes. The interval goes with its square root, so that it matters
little. Saves of 17 seconds then take 1 % of the time."""

LEAST_SECONDS = 600
"""Between checkpoints: what starting the next attempt takes, so that saving more often gains nothing."""

FIRST_STEPS = 100
"""Steps after which a run has its first checkpoint, should they take less than the least interval."""


def seconds_between(cost: float | None) -> float:
    """Seconds between checkpoints whose save takes ``cost`` seconds; None: nobody knows yet."""
    return max(LEAST_SECONDS, math.sqrt(2 * (cost or 0.0) * SECONDS_BETWEEN_FAILURES))


@dataclass(slots=True, kw_only=True)
class CheckpointInterval:
    """When the checkpoints of one attempt are due; seconds are of any clock that only goes forward."""

    every_steps: int | None
    """What the job says; None: by time."""
    began: float
    """When the attempt, or the last save, was done."""
    has_none: bool
    """Whether the run has no checkpoint yet."""
    cost: float | None = None
    """Seconds that the last save took."""

    def due(self, step: int, now: float) -> bool:
        """Whether to save after this step."""
        if self.every_steps is not None:
            return step % self.every_steps == 0
        if self.has_none and step >= FIRST_STEPS:
            return True
        return now - self.began >= seconds_between(self.cost)

    def passed_over(self, now: float) -> None:
        """No checkpoint was written: the volume is full, and is looked at again when the next one is due."""
        self.began, self.has_none = now, False

    def saved(self, now: float, seconds: float) -> None:
        """One was written, which took so long."""
        self.passed_over(now)
        self.cost = seconds
