"""Since when something has been seen, by the operator's own clock, with which no other clock is compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ..diagnose import SeenFor


class FirstSeen:
    """Remembers from one look to the next what was asked for; lost on a restart, which only delays."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    @contextmanager
    def look(self, now: float) -> Iterator[SeenFor]:
        """What is not asked for was not seen, and begins anew; a look that fails changes nothing."""
        seen: dict[tuple[str, str], float] = {}

        def seen_for(uid: str, what: str) -> timedelta:
            since = seen[uid, what] = self._since.get((uid, what), now)
            return timedelta(seconds=now - since)

        yield seen_for
        self._since = seen
