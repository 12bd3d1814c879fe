"""One answer for all who ask the same at the same time. Pure but for the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Asks one question after another of each kind, and those who wait meanwhile share the next one.

    An answer is never older than the question: a job that was made before is in it. A client that gives up
    does not take the answer from others.
    """

    def __init__(self, ask: Callable[[K], Awaitable[V]]) -> None:
        self._ask = ask
        self._running: dict[K, asyncio.Task[V]] = {}
        self._next: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """Ask, or share a question that is not asked yet."""
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._after(key, self._running.get(key)))
            task.add_done_callback(_looked_at)
        return await asyncio.shield(task)

    async def _after(self, key: K, before: asyncio.Task[V] | None) -> V:
        if before:
            await asyncio.wait([before])
        task = self._running[key] = self._next.pop(key)
        try:
            return await self._ask(key)
        finally:
            if self._running.get(key) is task:
                del self._running[key]


def _looked_at(task: asyncio.Task[V]) -> None:
    """Nobody may be left who wants to know of a failure: asyncio must not complain."""
    if not task.cancelled():
        task.exception()
