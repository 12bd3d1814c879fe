"""How often a caller may ask: token buckets, as many as are remembered. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

_REMEMBERED: Final = 10_000
"""Callers, about a megabyte. One that is forgotten begins anew."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a caller may do now."""

    limit: int
    """Per minute."""
    remaining: int
    reset: float
    """Seconds until all of it is there again."""
    wait: float
    """Seconds until the next request is taken; 0 where this one was."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As OpenAI tells it."""
        told = {"limit": self.limit, "remaining": self.remaining, "reset": f"{self.reset:.3f}s"}
        return [
            (f"x-ratelimit-{name}-requests".encode(), f"{value}".encode()) for name, value in told.items()
        ]


class Rates:
    """Buckets of one kind of request, by who asks."""

    def __init__(self, per_minute: int, burst: int, *, remembered: int = _REMEMBERED) -> None:
        self._per_minute = per_minute
        self._burst = burst
        self._remembered = remembered
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """Tokens, and the second at which they were counted; who asked last is last."""

    def take(self, key: Hashable, now: float) -> Left:
        """Take one of a caller's tokens, if there is one."""
        per_second = self._per_minute / 60
        tokens, then = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * per_second)
        may = tokens >= 1
        tokens -= may
        self._buckets[key] = tokens, now
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        return Left(
            limit=self._per_minute,
            remaining=math.floor(tokens),
            reset=(self._burst - tokens) / per_second,
            wait=0 if may else (1 - tokens) / per_second,
        )
