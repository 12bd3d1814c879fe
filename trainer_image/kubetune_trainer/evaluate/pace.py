"""How many questions are under way at once: as many as make the server answer faster.

A server on CPU may be fastest with four, one on a GPU with hundreds, and none says so. So the number is
multiplied as long as answers come faster by it, and the last step is taken back when they do not. A server
that refuses says how many it takes: as many as are under way then.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST = 4
FACTOR = 4
"""A small one tries more numbers, each for as many answers, while the server could be faster."""
MOST = 512
RISE = 1.1
"""By which answers have to come faster to make it worth while: less is chance."""


class Pace:
    """The number, as it is found while one candidate is asked."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.level = FIRST
        self._clock = clock
        self._most = MOST
        self._before: tuple[int, float] | None = None
        """The number before, and its answers per second."""
        self._settled = False
        self._begin(skip=0)

    def answered(self) -> None:
        """An answer has come."""
        if self._settled:
            return
        if self._skip:  # asked while there were fewer
            self._skip -= 1
            self._since = self._clock()
            return
        self._answers += 1
        if self._answers < max(2 * FIRST, self.level):
            return
        speed = self._answers / max(self._clock() - self._since, 1e-9)
        if self._before is not None and speed < RISE * self._before[1]:
            self.level, self._settled = min(self._before[0], self._most), True
        elif self.level >= self._most:
            self._settled = True
        else:
            self._before = self.level, speed
            self.level = min(FACTOR * self.level, self._most)
            self._begin(skip=self._before[0])

    def refused(self, under_way: int) -> None:
        """The server takes no more than are under way now."""
        self._most = max(1, min(self._most, under_way))
        if self.level > self._most:
            self.level = self._most
            self._begin(skip=self.level)

    def disturbed(self) -> None:
        """The server was away: what was measured says nothing."""
        self._begin(skip=self.level)

    def _begin(self, *, skip: int) -> None:
        self._skip = skip
        self._answers = 0
        self._since = self._clock()
