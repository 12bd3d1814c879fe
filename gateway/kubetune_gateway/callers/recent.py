"""Answers of the last seconds: a question is asked once at a time, and not again while its answer is young.

A no is kept for a shorter time than a yes, and among its own kind: who tries one wrong token after the other
pushes out nobody's right one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Final, Generic, TypeVar

from ..wire.errors import ApiError

YES_SECONDS: Final = 10.0
"""After which a right that was taken away, or a key, is worth nothing on any replica."""

NO_SECONDS: Final = 2.0
"""After which one that was given counts."""

MOST: Final = 4096
"""Answers of each kind that are kept."""

_AT_ONCE: Final = 32
"""Questions at a time: what nobody knows must not keep the API server from its work."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class No:
    """That it is not so, as whoever asked is told."""

    status: HTTPStatus
    code: str
    message: str

    def error(self) -> ApiError:
        """The answer to the client."""
        return ApiError(self.message, status=self.status, code=self.code)


class Recent(Generic[V]):
    """Answers to questions of one kind, by digests of the questions: nothing secret is kept."""

    def __init__(self, *, most: int = MOST, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._yes: _Kept[V] = _Kept(YES_SECONDS, most)
        self._no: _Kept[No] = _Kept(NO_SECONDS, most)
        self._asking: dict[bytes, asyncio.Task[V | No]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def get(self, question: str, ask: Callable[[], Awaitable[V | No]]) -> V:
        """The answer, of ``ask`` where there is no young one. Raises ApiError when it is no.

        What ``ask`` raises is raised to all who wait for it, and not kept.
        """
        key = hashlib.sha256(question.encode()).digest()
        found: V | No | None = self._yes.get(key, self._clock()) or self._no.get(key, self._clock())
        if found is None:
            task = self._asking.get(key)
            if task is None:
                task = self._asking[key] = asyncio.create_task(self._answer(key, ask))
                task.add_done_callback(_looked_at)
            found = await asyncio.shield(task)  # who gives up does not take the answer from others
        if isinstance(found, No):
            raise found.error()
        return found

    def __len__(self) -> int:
        return len(self._yes) + len(self._no)

    async def _answer(self, key: bytes, ask: Callable[[], Awaitable[V | No]]) -> V | No:
        try:
            async with self._room:
                asked = self._clock()  # an answer is as old as its question
                found = await ask()
            if isinstance(found, No):
                self._no.put(key, found, asked)
            else:
                self._yes.put(key, found, asked)
            return found
        finally:
            del self._asking[key]


class _Kept(Generic[V]):
    """So many answers at most, each for some seconds: the oldest go first."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._answers: OrderedDict[bytes, tuple[float, V]] = OrderedDict()

    def get(self, key: bytes, now: float) -> V | None:
        asked, found = self._answers.get(key, (0.0, None))
        return found if found is not None and now - asked < self._seconds else None

    def put(self, key: bytes, found: V, asked: float) -> None:
        self._answers.pop(key, None)
        while self._answers and (
            len(self._answers) >= self._most or asked - next(iter(self._answers.values()))[0] >= self._seconds
        ):
            self._answers.popitem(last=False)
        self._answers[key] = (asked, found)

    def __len__(self) -> int:
        return len(self._answers)


def _looked_at(task: asyncio.Task[V]) -> None:
    """Nobody may be left who wants to know of a failure: asyncio must not complain."""
    if not task.cancelled():
        task.exception()
