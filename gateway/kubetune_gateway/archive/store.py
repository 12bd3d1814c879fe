"""What is kept of jobs, in S3. What cannot change, or has an etag, is read once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from ..jobs.record import Beside, record
from ..jobs.steps import Step, lines, merged, parse
from ..store.bucket import Bucket
from ..store.places import Places
from ..wire.jobs import FineTuningJob, Status
from .kept import Cancelled, Kept, Record, beside
from .remembered import Key, Remembered

logger = logging.getLogger(__name__)

_MOST_TOLD: Final = 5000
"""Jobs that are remembered for lists: about 20 MB."""
_MOST_STEPS: Final = 60_000
"""Steps that are remembered for events: about 35 MB."""

_LISTED_FOR: Final = 1.0
"""Seconds in which the same list is told: to read a thousand keys takes up to a tenth of one."""

_AT_ONCE: Final = 32
"""Jobs that are read at a time."""

_CANCELLED: Final = ".cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A job that is kept, for lists."""

    job: FineTuningJob
    """As it is told once its FineTuneJob is gone."""
    beside: Beside
    """What is known beside a FineTuneJob that is there."""
    is_complete: bool
    """Whether nothing will change any more."""
    ended_at: Mapping[Status, int]
    """When it first came to each end, in Unix seconds."""


@dataclass(frozen=True, slots=True)
class _List:
    """Which records there are."""

    read_at: float
    etags: Mapping[str, Key]
    """By uid: what stands for all that is kept of a job."""


class Archive:
    """What is kept of the jobs of all namespaces. Methods raise ApiError with 503 where S3 is away."""

    def __init__(
        self,
        bucket: Bucket,
        places: Places,
        *,
        most_told: int = _MOST_TOLD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bucket = bucket
        self._places = places
        self._told: Remembered[Summary] = Remembered(most_told)
        self._steps: Remembered[list[Step]] = Remembered(_MOST_STEPS, len)
        self._lists: dict[str, _List] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._clock = clock

    async def get(self, namespace: str, uid: str) -> Kept | None:
        """What is kept of a job."""
        written, cancelled = await asyncio.gather(
            self._bucket.get(self._places.job_record(namespace, uid)),
            self._bucket.get(self._places.job_cancelled(namespace, uid)),
        )
        return _kept(written, cancelled)

    async def put(self, namespace: str, uid: str, written: Record) -> None:
        """Write the record of a job. Only the recorder does."""
        await self._bucket.put(self._places.job_record(namespace, uid), written.model_dump_json().encode())

    async def cancel(self, namespace: str, uid: str, cancelled: Cancelled) -> Cancelled:
        """Keep that a client has cancelled a job, unless one has before; return what holds."""
        key = self._places.job_cancelled(namespace, uid)
        is_first = await self._bucket.put_once(key, cancelled.model_dump_json().encode())
        self._lists.pop(namespace, None)
        if is_first:
            return cancelled
        before = await self._bucket.get(key)
        return cancelled if before is None else Cancelled.model_validate_json(before)

    async def namespaces(self) -> list[str]:
        """Those of which anything is kept."""
        prefix = self._places.prefix
        found = [folder.removeprefix(prefix).rstrip("/") for folder in await self._bucket.folders(prefix)]
        return [namespace for namespace in found if not namespace.startswith("_")]

    async def listed(self, namespace: str, *, but: Container[str] = ()) -> Mapping[str, Summary]:
        """All jobs that are kept of a namespace, by their uid, without some; at most a second old."""
        async with self._turns.setdefault(namespace, asyncio.Lock()):  # many ask for one list at a time
            before = self._lists.get(namespace)
            if before is None or self._clock() - before.read_at > _LISTED_FOR:
                read_at = self._clock()
                before = self._lists[namespace] = _List(read_at, await self._etags(namespace))
        return await self._all(namespace, {uid: key for uid, key in before.etags.items() if uid not in but})

    async def _etags(self, namespace: str) -> dict[str, Key]:
        found: dict[str, Key] = {}
        async for item in self._bucket.objects(self._places.jobs(namespace)):
            uid = item.key.rpartition("/")[2].removesuffix(".json").removesuffix(_CANCELLED)
            found[uid] = (*found.get(uid, (namespace, uid)), item.etag)
        return found

    async def _all(self, namespace: str, keys: Mapping[str, Key]) -> dict[str, Summary]:
        told = {uid: found for uid, key in keys.items() if (found := self._told.get(key)) is not None}
        unknown = [uid for uid in keys if uid not in told]
        for first in range(0, len(unknown), _AT_ONCE):
            some = unknown[first : first + _AT_ONCE]
            bodies = await asyncio.gather(*(self.get(namespace, uid) for uid in some))
            for uid, kept in zip(some, bodies, strict=True):
                if kept is not None:
                    told[uid] = _listed(kept)
                    self._told.put(keys[uid], told[uid])
        return told

    async def steps(self, namespace: str, uid: str, *, total: int) -> list[Step]:
        """What was measured in a job, in ascending order. Of a run of ``total`` steps, unless that is 0."""
        items = [item async for item in self._bucket.objects(self._places.job_steps(namespace, uid))]
        key = (namespace, uid, str(total), *(item.etag for item in items))
        found = self._steps.get(key)
        if found is None:
            bodies = await self._bucket.get_all(item.key for item in items)
            # A plan that was made anew may have fewer steps.
            found = [
                step
                for step in merged(step for body in bodies for step in parse(body))
                if not total or step.step <= total
            ]
            self._steps.put(key, found)
        return found

    async def add_steps(self, namespace: str, uid: str, steps: Sequence[Step]) -> str:
        """Keep what was measured, at least one step in ascending order; return its key."""
        folder = self._places.job_steps(namespace, uid)
        key = f"{folder}{steps[0].step:08d}-{steps[-1].step:08d}.jsonl"
        await self._bucket.put(key, lines(steps), kind="application/jsonl")
        return key

    async def drop_steps(self, key: str) -> None:
        """Forget steps that are kept under another key too."""
        await self._bucket.delete(key)


def _listed(kept: Kept) -> Summary:
    return Summary(
        job=record(kept.raw, beside(kept, is_live=False)),
        beside=beside(kept, is_live=True),
        is_complete=kept.is_complete,
        ended_at=kept.ended_at,
    )


def _kept(written: bytes | None, cancelled: bytes | None) -> Kept | None:
    if written is None and cancelled is None:
        return None
    try:
        return Kept(
            record=None if written is None else Record.model_validate_json(written),
            cancelled=None if cancelled is None else Cancelled.model_validate_json(cancelled),
        )
    except ValidationError as error:
        # One that somebody wrote by hand must not hide all others.
        logger.error("A job's record cannot be read", extra={"reason": str(error)})
        return None
