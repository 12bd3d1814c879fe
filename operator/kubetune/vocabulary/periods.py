"""The operator's own times: how often it looks, asks and writes, and pauses that grow. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

Span = TypeVar("Span", float, timedelta)

LOOK_AFTER: Final = timedelta(seconds=10)
"""A child that is not where it should be this long has its pods and Events looked at, again and again."""

TELL_AFTER: Final = timedelta(seconds=15)
"""A request that keeps failing this long is told in the conditions: shorter ones nobody needs to know of."""

PROGRESS_PERIOD: Final = timedelta(seconds=30)
"""Progress is written to the status at most this often; curves go to Prometheus."""

RELIST_PERIOD: Final = timedelta(seconds=60)
"""How often the index is compared with a metadata-only list: bounds how long a missed deletion lives."""

TIMER_ERROR: Final = 0.001
"""Seconds by which a timer may fire too early: what is left is a rounded sum, and a timer for it may fire
without the clock's moving. Whoever comes so early is not sent away again."""


def doubled(first: Span, times: int, *, limit: Span) -> Span:
    """Double a pause so often, up to a limit."""
    return min(first * (1 << min(times, 20)), limit)
