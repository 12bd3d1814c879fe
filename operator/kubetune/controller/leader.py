"""What an operator does and remembers in one term, which is all that a standby lacks.

The index and the watches outlive terms; what was remembered of jobs between two looks does not, since another
operator has acted meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ..cluster.debounce import News
from ..cluster.election import Term
from ..cluster.fence import FencedKube
from ..cluster.index import RELISTED, UNWATCHED, Index
from ..cluster.kube import Kube
from ..facts.parse import parse_child
from ..facts.views import PARENTS, Key, Kind, Listing, Meta
from ..pods_http.client import Web
from ..pods_http.probes import Probes
from ..spec.platform_policy import PlatformPolicy
from ..spec.settings import JobSettings
from ..vocabulary.errors import KubeTuneError, NotFound
from ..vocabulary.periods import TELL_AFTER
from .rate import StatusPace
from .reconcile import Dependencies, Reconciler
from .status_writer import Told
from .work_queue import Outcome, WorkQueue

logger = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Between two tries to find out what a predecessor did last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Everything that a term is made from."""

    kube: Kube
    index: Index
    web: Web
    settings: JobSettings
    policy: PlatformPolicy = PlatformPolicy()  # noqa: RUF009 - frozen
    workers: int
    on_done: Outcome = lambda _result, _seconds: None
    on_event: Told = lambda _type, _reason: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seed: int | None = None


class Leader:
    """Looks at FineTuneJobs while its term lasts."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._queue: WorkQueue | None = None

    def add(self, news: Iterable[News]) -> None:
        """Look at these keys. A standby has nothing to do: it looks at all when its term begins."""
        if self._queue is not None:
            for item in news:
                self._queue.add_after(item.key, item.wait)

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return 0 if self._queue is None else self._queue.depth

    @property
    def idle(self) -> bool:
        """In a term, and nothing waits or runs."""
        return self._queue is not None and self._queue.idle

    def oldest_age(self, now: float) -> float:
        """Seconds that the oldest key has been waiting or in work."""
        return 0.0 if self._queue is None else self._queue.oldest_age(now)

    async def act(self, term: Term) -> None:
        """Work until cancelled; finish what is in work then if the term still lasts."""
        means = self._means
        await self._catch_up()
        probes = Probes(web=means.web, wake=lambda key: queue.add(key))
        reconciler = Reconciler(self._dependencies(term, probes))
        queue = WorkQueue(reconciler.reconcile, on_done=means.on_done, seed=means.seed)
        for key in means.index.all_keys():
            queue.add(key)
        self._queue = queue
        workers = asyncio.create_task(queue.run(means.workers))
        try:
            await asyncio.shield(workers)
        finally:
            self._queue = None
            if not term.left(asyncio.get_running_loop().time()):
                queue.abandon()
            workers.cancel()
            with suppress(asyncio.CancelledError):
                await workers
            await probes.close()
            await reconciler.drain()

    async def tell(self, obstacle: Callable[[], Awaitable[KubeTuneError | None]], term: Term) -> None:
        """Have all jobs say, until cancelled, what keeps this operator from looking at any of them."""
        begun = asyncio.get_running_loop().time()
        probes = Probes(web=self._means.web, wake=lambda _: None)
        reconciler = Reconciler(self._dependencies(term, probes))
        try:
            while True:
                if (error := await obstacle()) is not None:
                    for key, _ in self._means.index.parents():
                        await reconciler.tell(key, error, begun=begun - TELL_AFTER.total_seconds())
                await asyncio.sleep(TELL_AFTER.total_seconds())
        finally:
            await reconciler.drain()

    def _dependencies(self, term: Term, probes: Probes) -> Dependencies:
        means = self._means
        return Dependencies(
            kube=FencedKube(means.kube, term),
            index=means.index,
            settings=means.settings,
            policy=means.policy,
            probes=probes,
            pace=StatusPace(),
            now=means.now,
            on_event=means.on_event,
        )

    async def _catch_up(self) -> None:
        """Learn what a predecessor wrote last: of some kinds no watch tells, and a watch may be late."""
        while True:
            try:
                for kind in RELISTED:
                    listing = await self._means.kube.list_metadata(kind)
                    self._means.index.correct(kind, listing)
                    if kind not in UNWATCHED:
                        await self._read_newer(kind, listing)
            except KubeTuneError as error:
                logger.warning("What was done last cannot be read yet", extra={"reason": str(error)})
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _read_newer(self, kind: Kind, listing: Listing) -> None:
        index, kube = self._means.index, self._means.kube
        for view in listing.views:
            if _version_known(index, kind, view) >= int(view.resource_version):
                continue
            with suppress(NotFound):
                raw = await kube.get(kind, view.namespace, view.name)
                if kind in PARENTS:
                    index.put_parent(kind, raw)
                else:
                    index.put(parse_child(raw, kind), live=True)


def _version_known(index: Index, kind: Kind, view: Meta) -> int:
    if kind in PARENTS:
        known = index.parent(Key(kind, view.namespace, view.name))
        return 0 if known is None else int(known["metadata"]["resourceVersion"])
    child = None if view.key is None else index.child(view.key, kind, view.name)
    return 0 if child is None else int(child.resource_version)
