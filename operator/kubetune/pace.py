"""The pace of status writes that are not final: the dearest request there is, so a few per second at most.

A key that has to wait gets one turn, however often it asks; what it writes then is the state of that moment.
"""

from __future__ import annotations

from typing import Final

from .views import Key

_EARLY: Final = 0.001
"""A timer that fires a rounding error too early is not sent away again."""


class Pace:
    """A token bucket that hands out turns."""

    def __init__(self, *, per_second: float = 1.0, burst: int = 20) -> None:
        self._interval = 1.0 / per_second
        self._slack = self._interval * burst
        self._next = float("-inf")
        """When the next turn would be if there had been no pause."""
        self._turns: dict[Key, float] = {}

    def delay(self, key: Key, now: float) -> float:
        """Seconds until the key may write; 0 takes the turn."""
        turn = self._turns.get(key)
        if turn is None:
            # An idle time saves up turns, at most a burst of them.
            self._next = max(self._next, now - self._slack + self._interval) + self._interval
            turn = self._turns[key] = self._next - self._interval
        if turn <= now + _EARLY:
            del self._turns[key]
            return 0.0
        return turn - now

    def forget(self, key: Key) -> None:
        """Give up the key's turn: it wrote at once, or it is gone."""
        self._turns.pop(key, None)
