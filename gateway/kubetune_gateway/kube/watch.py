"""Keeps FineTuneJobs in memory, by a list and a watch for all namespaces or for each of some.

A watch ends twice a minute and goes on from where it was; the API server says something right before. One
that is silent for longer is dead, as after a lost entry of a NAT. After that, as after any error, all is
listed anew: only a list tells what was deleted meanwhile, and is believed after a restored etcd.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final, Literal

from kubetune.cluster.kube.answers import items_of, version_of
from kubetune.cluster.kube.errors import Target
from kubetune.vocabulary import names
from kubetune.vocabulary.errors import KubeTuneError, MissingPermission
from kubetune.vocabulary.json_values import dict_of, text_of

from .api_server import ApiServer, path_of
from .known import Change, Known, Raw, lean

logger = logging.getLogger(__name__)

SECONDS: Final = 30
"""Of one watch. It bounds how old news can be, and no load balancer gives up on a connection as soon."""

SILENCE: Final = 45.0
"""Seconds without a word after which a watch is dead."""

STALE: Final = 60.0
"""Seconds without a word after which what is known is too old to be told: a list has failed as well then."""

_PAGE: Final = 500
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 15.0

_DENIED_DELAY: Final = 30.0
"""Until what an administrator has to change is tried again; the API server can ask for no longer pause."""

Subscriber = Callable[[Literal["ADDED", "MODIFIED", "DELETED"], Raw], None]


class JobWatch:
    """FineTuneJobs of all namespaces, or of those that are named."""

    def __init__(
        self,
        api: ApiServer,
        *,
        namespaces: Sequence[str] = (),
        seconds: int = SECONDS,
        silence: float = SILENCE,
        stale: float = STALE,
    ) -> None:
        self._feeds = {
            namespace: _Feed(api, namespace, seconds=seconds, silence=silence, stale=stale, tell=self._tell)
            for namespace in (namespaces or (None,))
        }
        self._subscribers: list[Subscriber] = []

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds.values():
                group.create_task(feed.run())

    @property
    def synced(self) -> bool:
        """Whether all there was has been listed once, where that is allowed."""
        return all(feed.began.is_set() for feed in self._feeds.values())

    async def wait_until_synced(self) -> None:
        """Return when it is."""
        for feed in self._feeds.values():
            await feed.began.wait()

    def known(self, namespace: str) -> Known | None:
        """What is known of a namespace; None where that is too old, or nothing is."""
        feed = self._feed(namespace)
        return feed.known if feed and feed.fresh() else None

    def answered(self, raw: Raw, namespace: str) -> None:
        """Take in an object as an answer has it."""
        feed = self._feed(namespace)
        if feed:
            feed.known.answered(raw)

    def deleted(self, uid: str, namespace: str) -> None:
        """Take in that this one is gone."""
        feed = self._feed(namespace)
        if feed:
            feed.known.deleted(uid)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell of all that is known, as ADDED, and of each change from then on; return what ends it.

        What was deleted while the API server was away is told when it is back, with what was known last.
        """
        self._subscribers.append(subscriber)
        for feed in self._feeds.values():
            for raw in feed.known.watched():
                _call(subscriber, ("ADDED", raw))
        return lambda: self._subscribers.remove(subscriber)

    def _feed(self, namespace: str) -> _Feed | None:
        return self._feeds.get(None) or self._feeds.get(namespace)

    def _tell(self, change: Change) -> None:
        for subscriber in list(self._subscribers):
            _call(subscriber, change)


class _Feed:
    """One list and watch."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str | None,
        *,
        seconds: int,
        silence: float,
        stale: float,
        tell: Callable[[Change], None],
    ) -> None:
        self.known = Known()
        self.began = asyncio.Event()
        """Everything was listed once, or that is not allowed."""
        self._api = api
        self._path = jobs_path(namespace)
        self._namespace = namespace or ""
        self._seconds = seconds
        self._silence = silence
        self._stale = stale
        self._tell = tell
        self._heard: float | None = None
        self._delays = _delays()

    def fresh(self) -> bool:
        """Whether something came not long ago."""
        return self._heard is not None and _now() - self._heard < self._stale

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._list()
                while await self._watch():
                    pass
                reason, wish = "it ended at once", None
            except KubeTuneError as error:
                reason, wish = str(error), getattr(error, "retry_after", None)
                if isinstance(error, MissingPermission):
                    self.began.set()  # nobody waits for what does not come; requests say what is lacking
                    wish = _DENIED_DELAY
            delay = max(next(self._delays), min(wish or 0.0, _DENIED_DELAY))
            logger.warning(
                "Listing all jobs anew",
                extra={"namespace": self._namespace, "reason": reason, "delay": round(delay, 1)},
            )
            await asyncio.sleep(delay)

    async def _list(self) -> None:
        target = Target(verb="list", kind=names.PLURAL, namespace=self._namespace, name="")
        items, version = await list_all(self._api, self._path, target)
        for change in self.known.listed(items, version):
            self._tell(change)
        self._heard = _now()
        self.began.set()

    async def _watch(self) -> bool:
        """Watch until the API server ends it; tell whether that was in its time, or after a word at least."""
        target = Target(verb="watch", kind=names.PLURAL, namespace=self._namespace, name="")
        began, heard = _now(), False
        stream = self._api.watch(
            self._path, target, since=self.known.version, seconds=self._seconds, silence=self._silence
        )
        async with aclosing(stream):
            async for kind, raw in stream:
                if not heard:
                    heard, self._delays = True, _delays()
                self._heard = _now()
                change = self.known.event(kind, lean(raw))
                if change:
                    self._tell(change)
        self._heard = _now()
        return heard or self._heard - began > self._seconds / 2


async def list_all(api: ApiServer, path: str, target: Target, *, page: int = _PAGE) -> tuple[list[Raw], int]:
    """All objects of a collection as of now, and at which version; in pages, which bound the memory."""
    found: list[Raw] = []
    query = {"limit": str(page)}
    while True:
        answer = await api.send("GET", path, target, query=query)
        rest = text_of(dict_of(answer.get("metadata")).pop("continue", None))
        found += map(lean, items_of(target, answer))
        if not rest:
            return found, version_of(target, answer)
        query = {"limit": str(page), "continue": rest}


def jobs_path(namespace: str | None, name: str | None = None) -> str:
    """Path of a FineTuneJob, or of all of a namespace, or of all."""
    return path_of(names.PLURAL, group=names.GROUP, version=names.VERSION, namespace=namespace, name=name)


def _call(subscriber: Subscriber, change: Change) -> None:
    """Tell one of a change: its fault is not the watch's end."""
    try:
        subscriber(*change)
    except Exception:
        logger.exception("A subscriber to jobs failed")


def _delays() -> Iterator[float]:
    """Seconds between attempts, jittered: replicas must not come at once."""
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, _LONGEST_DELAY)


def _now() -> float:
    return asyncio.get_running_loop().time()
