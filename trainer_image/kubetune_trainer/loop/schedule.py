"""The learning rate of each step, as a factor of its peak: pure arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal

from ..contract.config import ScheduleConfig


def factor(schedule: ScheduleConfig, step: int, total: int) -> float:
    """Factor of a step, counted from 0, of ``total``.

    The rate rises in equal parts, so that the first step learns something already, reaches its peak at the
    last step of the warm-up, and falls towards 0, which it would reach one step after the last."""
    warm = math.ceil(Decimal(schedule.warmup_ratio) * total)
    if step < warm:
        return (step + 1) / warm
    done = min(1.0, (step - warm) / max(1, total - warm))
    match schedule.type:
        case "Constant":
            return 1.0
        case "Linear":
            return 1.0 - done
        case "Cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
