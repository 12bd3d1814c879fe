"""Tells in the log how far reading has come, every few seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


class Progress:
    """How many rows and tokens of a split were read."""

    def __init__(self, role: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._role = role
        self._clock = clock
        self._next = clock() + EVERY_SECONDS
        self.rows = 0
        self.tokens = 0

    def read(self, *, rows: int = 0, tokens: int = 0) -> None:
        """Count what was read, and say how much it is if nothing was said for a while."""
        self.rows += rows
        self.tokens += tokens
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY_SECONDS
            logger.info("%s %s rows read so far, %s tokens", f"{self.rows:,}", self._role, f"{self.tokens:,}")
