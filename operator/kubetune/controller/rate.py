"""The pace of requests that must not become a storm: looks at pods, and status writes that are not final.

A key that has to wait gets one turn, however often it asks; what it does then is right for that moment.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from ..facts.views import Key
from ..vocabulary.periods import TIMER_ERROR

_LINGER: Final = 2.0
"""Replicas, ready pods and progress change within seconds of each other, and of news."""


class Pace:
    """A token bucket that hands out turns."""

    def __init__(self, *, per_second: float = 1.0, burst: int = 20, linger: float = 0.0) -> None:
        """``linger``: seconds that every turn waits, for what changes next to come with it."""
        self._linger = linger
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
            turn = self._turns[key] = max(self._next - self._interval, now + self._linger)
        if turn <= now + TIMER_ERROR:
            del self._turns[key]
            return 0.0
        return turn - now

    def forget(self, key: Key) -> None:
        """Give up the key's turn: it wrote at once, or it is gone."""
        self._turns.pop(key, None)


class Urgency(Enum):
    """What kind of status write waits for its turn."""

    NEWS = "news"
    """A job says something for the first time, or that something is wrong."""
    STAGE = "stage"
    """All goes well, and the next stage has begun."""
    REST = "rest"
    """Progress, replicas, other words."""


class StatusPace:
    """The pace of status writes, the dearest request there is: what people wait for soon, the rest later.

    Each in a bucket of its own, or the progress of thirty running jobs would hold up a failure. A hundred
    jobs that begin to train at once need the API server for their pods more than for saying so.
    """

    def __init__(self) -> None:
        self._paces = {
            Urgency.NEWS: Pace(per_second=10.0),
            Urgency.STAGE: Pace(per_second=1.5, burst=5),
            Urgency.REST: Pace(burst=5, linger=_LINGER),
        }

    def delay(self, key: Key, now: float, urgency: Urgency) -> float:
        """Seconds until the key may write; 0 takes the turn."""
        return self._paces[urgency].delay(key, now)

    def forget(self, key: Key) -> None:
        """Give up the key's turns: it wrote, or it is gone."""
        for pace in self._paces.values():
            pace.forget(key)
