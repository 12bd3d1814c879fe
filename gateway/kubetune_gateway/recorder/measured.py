"""Reads the steps of jobs that train, and keeps them as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from ..archive.store import Archive
from ..jobs.steps import MOST_STEPS, Step, merged, total_steps
from .feed import Raw, meta_of
from .rank0 import MOST_LINES, Rank0, Silence, attempt_of

logger = logging.getLogger(__name__)

_CHUNK: Final = 500
"""Steps of one object in S3, about: it is written anew until it has as many."""


@dataclass(slots=True)
class _Reading:
    """How far one attempt has been read."""

    attempt: int
    last: Step | None = None
    """The last one that was told: it is told again with its validation."""
    chunk: list[Step] = field(default_factory=list)
    """Steps of the object that is being filled."""
    key: str | None = None
    """Where they are kept; None: not yet."""
    is_dirty: bool = False
    """Whether some of them are not kept yet."""
    is_silent: bool = False
    """Whether it was logged that there is no answer."""


class Measured:
    """What is read of all jobs."""

    def __init__(self, archive: Archive, rank0: Rank0) -> None:
        self._archive = archive
        self._rank0 = rank0
        self._readings: dict[str, _Reading] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read(self, raw: Raw) -> None:
        """Read what is new of a job that trains. That nobody answers is usual. Raises ApiError without S3."""
        async with self._lock(raw):
            await self._read(raw)

    async def finish(self, raw: Raw) -> None:
        """Keep what was read and is not kept yet, and forget how far it was. Raises ApiError without S3."""
        async with self._lock(raw):
            await self._finish(raw)

    def _lock(self, raw: Raw) -> asyncio.Lock:
        """A job is read by one task at a time."""
        _, _, uid = meta_of(raw)
        return self._locks.setdefault(uid, asyncio.Lock())

    async def _finish(self, raw: Raw) -> None:
        namespace, _, uid = meta_of(raw)
        reading = self._readings.get(uid)
        if reading is not None:
            await self._keep(namespace, uid, reading)
            self._readings.pop(uid, None)

    async def _read(self, raw: Raw) -> None:
        namespace, name, uid = meta_of(raw)
        attempt, reading = attempt_of(raw), self._readings.get(uid)
        if attempt is None:
            return
        known: dict[int, Step] = {}
        if reading is None or reading.attempt != attempt:
            # Another attempt repeats steps, and another recorder has kept some.
            await self._finish(raw)
            known = {step.step: step for step in await self._archive.steps(namespace, uid, total=0)}
            reading = self._readings[uid] = _Reading(attempt)
        try:
            await self._read_on(reading, raw, known)
            reading.is_silent = False
        except Silence as error:
            if not reading.is_silent:
                extra = {"namespace": namespace, "name": name, "attempt": attempt, "reason": str(error)}
                logger.info("Steps cannot be read now", extra=extra)
            reading.is_silent = True
            await self._keep(namespace, uid, reading)  # S3 may have been away before

    async def _read_on(self, reading: _Reading, raw: Raw, known: dict[int, Step]) -> None:
        namespace, _, uid = meta_of(raw)
        most = total_steps(raw) or MOST_STEPS
        while True:
            before = reading.last
            if before is not None:
                known[before.step] = before
            told = await self._rank0.steps(raw, after=0 if before is None else before.step - 1)
            planned = [step for step in told if step.step <= most]
            if new := [step for step in planned if known.get(step.step) != step]:
                _add(reading, new)
            if planned:
                reading.last = planned[-1]
            await self._keep(namespace, uid, reading)
            if len(told) < MOST_LINES or reading.last == before:
                return

    async def _keep(self, namespace: str, uid: str, reading: _Reading) -> None:
        if not reading.is_dirty:
            return
        before = reading.key
        reading.key = await self._archive.add_steps(namespace, uid, reading.chunk)
        reading.is_dirty = False
        if before not in (None, reading.key):
            await self._archive.drop_steps(before)


def _add(reading: _Reading, steps: Sequence[Step]) -> None:
    """Add steps to the object that is being filled, or begin another one."""
    if len(reading.chunk) >= _CHUNK and not reading.is_dirty:
        reading.chunk, reading.key = [], None
    reading.chunk = merged([*reading.chunk, *steps])
    reading.is_dirty = True
