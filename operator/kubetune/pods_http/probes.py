"""Questions to a job's own pods: rank 0's /progress, and what a server says of itself through its Service.

They run beside the workers, since a pod that does not answer must not hold one. Failures are ignored: both
are asked again, and neither decides what is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from kubetune_trainer.contract.messages import Progress

from ..facts.canary import CANARY_PATH, Canary
from ..facts.views import Key
from ..vocabulary.names import ROLES
from ..vocabulary.periods import PROGRESS_PERIOD
from .client import Web

logger = logging.getLogger(__name__)

PROGRESS_POLL: Final = 10.0
ANSWER_POLL_FIRST: Final = 1.0
"""A Service reaches its first server a moment after that server is ready."""
ANSWER_POLL_LIMIT: Final = 60.0
"""One that stays silent is asked ever more slowly, up to this."""
SILENCE: Final = 15.0
"""A ready server that has not answered for this long is worth a sentence."""
_PARALLEL: Final = 32


@dataclass(slots=True)
class _Watch:
    target: str
    task: asyncio.Task[None]
    latest: Progress | None = None
    """As of the last time that the key was woken for it."""
    failure: str | None = None
    """Why a Service has not answered for a while."""


@dataclass(slots=True, kw_only=True)
class Probes:
    """Asks pods in the background, and wakes a key when there is news."""

    web: Web
    wake: Callable[[Key], None]
    _training: dict[Key, _Watch] = field(default_factory=dict)
    _serving: dict[tuple[Key, str], _Watch] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PARALLEL))
    _serving_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PARALLEL))
    """Their own: silent Services take their timeouts, and progress must not wait for them."""

    def progress(self, key: Key, url: str | None) -> Progress | None:
        """Latest progress of a training that runs at this URL; None ends the questions."""
        watch = self._training.get(key)
        if watch is not None and watch.target != url:
            watch.task.cancel()
            del self._training[key]
            watch = None
        if url is None:
            return None
        if watch is None:
            self._training[key] = _Watch(url, asyncio.create_task(self._follow(key, url)))
            return None
        return watch.latest

    def ask(self, key: Key, role: str, *, intent: str, base_url: str, done: Callable[[Canary], None]) -> None:
        """Ask a Service until it answers, once for each intent of its Deployment; then call ``done``.

        It has answered when it said that it answers as training measured, or that nobody can tell: a server
        completes tokens of the model before it says that. No key is needed to hear it.
        """
        watch = self._serving.get((key, role))
        if watch is not None and watch.target == intent:
            return
        self.stop_asking(key, role)
        task = asyncio.create_task(self._ask(key, role, base_url, done))
        self._serving[key, role] = _Watch(intent, task)

    def failure(self, key: Key, role: str) -> str | None:
        """Why a Service that is asked has not answered for a while."""
        watch = self._serving.get((key, role))
        return None if watch is None else watch.failure

    def stop_asking(self, key: Key, role: str) -> None:
        """Ask no more."""
        watch = self._serving.pop((key, role), None)
        if watch is not None:
            watch.task.cancel()

    def forget(self, key: Key) -> None:
        """End all questions about a job."""
        self.progress(key, None)
        for role in ROLES:
            self.stop_asking(key, role)

    async def close(self) -> None:
        """End all questions."""
        tasks = [watch.task for watch in (*self._training.values(), *self._serving.values())]
        for key in {*self._training, *(key for key, _ in self._serving)}:
            self.forget(key)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self, key: Key, url: str) -> None:
        loop = asyncio.get_running_loop()
        woken = -PROGRESS_PERIOD.total_seconds()
        while True:
            progress = await self._progress_of(key, url)
            watch = self._training.get(key)
            if watch is None or watch.target != url:
                return
            due = loop.time() - woken >= PROGRESS_PERIOD.total_seconds()
            if progress is not None and progress != watch.latest and due:
                watch.latest = progress
                woken = loop.time()
                self.wake(key)
            await asyncio.sleep(PROGRESS_POLL)

    async def canary(self, host: str) -> Canary | None:
        """What the server at ``host:port`` says of itself, be it ready or not; None: nothing."""
        async with self._serving_slots:
            found = await self.web.canary(f"http://{host}{CANARY_PATH}")
        return None if isinstance(found, str) else found

    async def _ask(self, key: Key, role: str, base_url: str, done: Callable[[Canary], None]) -> None:
        loop = asyncio.get_running_loop()
        begun, pause = loop.time(), ANSWER_POLL_FIRST
        while True:
            found = await self._answer_of(key, base_url)
            if isinstance(found, Canary):
                logger.info("The served model answered", extra=_extra(key, base_url))
                done(found)
                self.wake(key)
                return
            if loop.time() - begun >= SILENCE:
                watch = self._serving.get((key, role))
                if watch is not None and watch.failure != found:
                    watch.failure = found
                    self.wake(key)
            await asyncio.sleep(pause)
            pause = min(pause * 2, ANSWER_POLL_LIMIT)

    async def _progress_of(self, key: Key, url: str) -> Progress | None:
        async with self._slots:
            try:
                return await self.web.progress(url)
            except Exception:  # this task's end would be the last question
                logger.exception("A question about progress failed", extra=_extra(key, url))
                return None

    async def _answer_of(self, key: Key, base_url: str) -> Canary | str:
        """What a server that answers says of itself, or why none does."""
        async with self._serving_slots:
            try:
                found = await self.web.canary(f"{base_url.removesuffix('/v1')}{CANARY_PATH}")
                if isinstance(found, Canary) and found.verdict == "Mismatch":
                    return found.message
                if isinstance(found, Canary) and found.keyless:
                    return "it asks for a key and has none to accept"
                return found
            except Exception as error:
                logger.exception("A question to a server failed", extra=_extra(key, base_url))
                return f"{type(error).__name__}: {error}"


def _extra(key: Key, url: str) -> dict[str, str]:
    return {"namespace": key.namespace, "job": key.name, "url": url}
