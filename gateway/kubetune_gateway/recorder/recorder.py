"""What the replica that holds the Lease does: it follows all jobs, and looks for what no change tells of.

Nothing is remembered between two terms: all is taken from the API server and from S3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..archive.store import Archive
from ..contracts import Jobs
from ..files.store import FileStore
from ..webhooks.deliveries import Deliveries
from ..wire.errors import ApiError
from .feed import Feed, Raw
from .following import Following
from .measured import Measured
from .rank0 import Address, Rank0, address_of, attempt_of
from .settle import Settler
from .sweep import Sweep

logger = logging.getLogger(__name__)

_WORKERS: Final = 16
_READS: Final = 32
"""Jobs whose steps are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periodic:
    """What else is done once in a while, by one replica."""

    name: str
    seconds: float
    do: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds between two looks."""

    steps: float = 3.0
    """Rank 0 waits 15 seconds for its last steps to be read."""
    sweep: float = 60.0
    """At what nobody was told of: jobs that went while no replica looked, deletions that failed."""
    again: float = 5.0
    """After S3 or the API server was away, at first; then ever more slowly."""


class Recorder:
    """Follows jobs while it is the one that does."""

    def __init__(
        self,
        *,
        feed: Feed,
        jobs: Jobs,
        archive: Archive,
        files: FileStore,
        deliveries: Deliveries,
        now: Callable[[], datetime],
        periodic: Sequence[Periodic] = (),
        pace: Pace | None = None,
        address: Address = address_of,
    ) -> None:
        self._feed = feed
        self._jobs = jobs
        self._archive = archive
        self._files = files
        self._deliveries = deliveries
        self._now = now
        self._periodic = periodic
        self._pace = pace or Pace()
        self._address = address

    async def run(self, term: object = None) -> None:
        """Record until this is cancelled. It is what an Elector has the holder of a Lease do."""
        rank0 = Rank0(self._address)
        measured = Measured(self._archive, rank0)
        settler = Settler(
            jobs=self._jobs,
            archive=self._archive,
            files=self._files,
            measured=measured,
            deliveries=self._deliveries,
            now=self._now,
        )
        following = Following(settler, self._pace.again)
        stop = self._feed.subscribe(following.heard)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._deliveries.run())
                for _ in range(_WORKERS):
                    tasks.create_task(following.work())
                tasks.create_task(self._read_steps(following, measured, tasks))
                sweep = Sweep(self._archive, self._jobs, self._deliveries, following)
                every = Periodic(name="sweep", seconds=self._pace.sweep, do=sweep.look)
                for one in (every, *self._periodic):
                    tasks.create_task(_repeat(one))
        finally:
            stop()
            await rank0.close()

    async def _read_steps(self, following: Following, measured: Measured, tasks: asyncio.TaskGroup) -> None:
        """Read the steps of all jobs that train, each as fast as it answers."""
        limit, reading, waiting = asyncio.Semaphore(_READS), set[str](), set[str]()

        async def read(uid: str, raw: Raw) -> None:
            try:
                async with limit:
                    await measured.read(raw)
                waiting.discard(uid)
            except ApiError as error:
                if uid not in waiting:
                    logger.warning("Steps wait to be kept", extra={"uid": uid, "reason": error.message})
                waiting.add(uid)
            except Exception:
                logger.exception("Steps cannot be kept", extra={"uid": uid})
            finally:
                reading.discard(uid)

        while True:
            for uid, raw in following.live.items():
                if attempt_of(raw) is not None and uid not in reading:
                    reading.add(uid)
                    tasks.create_task(read(uid, raw))
            await asyncio.sleep(self._pace.steps)


async def _repeat(one: Periodic) -> None:
    while True:
        try:
            await one.do()
        except ApiError as error:
            logger.warning("It is done later", extra={"task": one.name, "reason": error.message})
        except Exception:
            logger.exception("It is done later", extra={"task": one.name})
        await asyncio.sleep(one.seconds)
