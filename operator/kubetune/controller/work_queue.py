"""A keyed queue: each key once, one worker per key, bounded concurrency, backoff with jitter, delays.

Uses the event loop's clock only, so that tests run it in virtual time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from ..facts.views import Key
from ..vocabulary.errors import KubeTuneError, TransientError
from ..vocabulary.periods import doubled

logger = logging.getLogger(__name__)

BACKOFF_FIRST: Final = 0.5
BACKOFF_LIMIT: Final = 60.0

Work = Callable[[Key], Awaitable[timedelta | None]]
"""Handles a key, and says when to handle it again even if nothing happens."""

Outcome = Callable[[str, float], None]
"""Told the result (``ok``, ``retry``, ``error``) and the seconds of each handling."""


class WorkQueue:
    """Keys that wait, keys in work, keys that come later."""

    def __init__(
        self, work: Work, *, on_done: Outcome = lambda _result, _seconds: None, seed: int | None = None
    ) -> None:
        self._work = work
        self._on_done = on_done
        self._random = random.Random(seed)
        self._waiting: OrderedDict[Key, float] = OrderedDict()
        """Keys ready to be handled, and since when."""
        self._running: dict[Key, float] = {}
        self._again: dict[Key, float] = {}
        """Keys that were added while they were in work."""
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        """Handle the key as soon as a worker is free; once, however often it is added until then.

        A key that failed waits for its backoff, whatever happens: an API server that said 429 means it.
        """
        if self._backs_off(key):
            return
        self._cancel_timer(key)
        now = asyncio.get_running_loop().time()
        if key in self._running:
            self._again.setdefault(key, now)
        elif key not in self._waiting:
            self._waiting[key] = now
            self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Handle the key after a while; the earliest of several wishes counts.

        Whatever has it handled before that makes up for this: all wishes are about what is known then.
        """
        if self._backs_off(key):
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        known = self._later.get(key)
        if known is not None and known.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._later[key] = loop.call_later(seconds, self._due, key)

    async def run(self, workers: int) -> None:
        """Handle keys until cancelled; keys that are in work then are finished, unless abandoned."""
        tasks = self._tasks
        try:
            while True:
                while self._waiting and len(tasks) < workers:
                    key, _ = self._waiting.popitem(last=False)
                    self._cancel_timer(key)  # what is decided now replaces what was decided before
                    self._running[key] = asyncio.get_running_loop().time()
                    task = asyncio.create_task(self._handle(key))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    task.add_done_callback(lambda _: self._wake.set())
                self._wake.clear()
                await self._wake.wait()
        finally:
            if tasks:
                await asyncio.shield(asyncio.gather(*tasks, return_exceptions=True))

    def abandon(self) -> None:
        """Cancel what is in work, and let nothing come later."""
        for task in self._tasks:
            task.cancel()
        for timer in self._later.values():
            timer.cancel()

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nothing waits or runs; timers may be set."""
        return not (self._waiting or self._running or self._again)

    def oldest_age(self, now: float) -> float:
        """Seconds that the oldest key has been waiting or in work: grows without end when workers hang."""
        since = min((*self._waiting.values(), *self._running.values()), default=now)
        return now - since

    async def _handle(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        result, delay = "ok", None
        try:
            after = await self._work(key)
            self._failures.pop(key, None)
            delay = None if after is None else after.total_seconds()
        except TransientError as error:
            result, delay = "retry", max(self._backoff(key), error.retry_after or 0)
            logger.info("Trying again later", extra=_extra(key, reason=str(error), delay=round(delay, 1)))
        except KubeTuneError as error:
            result, delay = "error", self._backoff(key)
            said = _extra(key, reason=str(error), delay=round(delay, 1))
            logger.warning("A request was refused", extra=said)
        except Exception:
            result, delay = "error", self._backoff(key)
            logger.exception("Reconciling failed", extra=_extra(key, delay=round(delay, 1)))
        finally:
            del self._running[key]
            again = self._again.pop(key, None)
        self._on_done(result, loop.time() - begun)
        if result != "ok":
            self._cancel_timer(key)  # what came meanwhile waits for the backoff as well
        if again is not None and result == "ok":
            self.add(key)
        elif delay is not None:
            self.add_after(key, delay)

    def _backoff(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = doubled(BACKOFF_FIRST, failures, limit=BACKOFF_LIMIT)
        return delay * self._random.uniform(0.5, 1.0)

    def _backs_off(self, key: Key) -> bool:
        return key in self._failures and key in self._later

    def _due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._later.pop(key, None)
        if timer is not None:
            timer.cancel()


def _extra(key: Key, **more: object) -> dict[str, object]:
    # "name" is taken by logging itself.
    return {"namespace": key.namespace, "job": key.name, **more}
