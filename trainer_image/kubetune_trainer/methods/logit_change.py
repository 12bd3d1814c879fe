"""What a model does to its logits after its output layer: found by asking it, not by its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PROBE = (1.0, 20.0, 1000.125)
"""Logits that are given to a model in float32: small and in the middle for a scale, large for a cap."""

_TOLERANCE = 1e-4
"""Relative, in float32. What is found is used for all logits, so it has to hold for each of the three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitChange:
    """Logits z become ``cap * tanh(scale * z / cap)`` (Gemma 2), without a cap ``scale * z`` (Cohere)."""

    scale: float = 1.0
    cap: float | None = None

    def of(self, logit: float) -> float:
        """What becomes of one."""
        scaled = self.scale * logit
        return scaled if self.cap is None else self.cap * math.tanh(scaled / self.cap)


def change_of(found: Sequence[float]) -> LogitChange | None:
    """The change that makes ``found`` of PROBE; None where it is none of those that are known."""
    if len(found) != len(PROBE) or not all(math.isfinite(value) and value > 0 for value in found):
        return None
    if tuple(found) == PROBE:
        return LogitChange()
    small, _, cap = found
    candidates = [LogitChange(scale=small / PROBE[0])]
    if small < cap:
        candidates.append(LogitChange(scale=cap * math.atanh(small / cap) / PROBE[0], cap=cap))
    return next((change for change in candidates if _makes(change, found)), None)


def _makes(change: LogitChange, found: Sequence[float]) -> bool:
    return all(
        math.isclose(change.of(logit), value, rel_tol=_TOLERANCE)
        for logit, value in zip(PROBE, found, strict=True)
    )
