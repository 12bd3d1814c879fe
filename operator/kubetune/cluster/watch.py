"""Watches: kopf's settings, the guard that keeps its streams alive, and what is known about their health.

The guard replaces a private function of kopf (pinned to the minor, with a canary test): an error in a stream
would end the process, and what is deleted while a stream is broken would never be reported. It also delivers
events itself: kopf's queue and worker for each object cost a third of the operator's processor time, and all
that would come of them is a call of our one handler.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import kopf
from kopf._cogs.clients import watching
from kopf._core.engines.peering import Identity
from typing_extensions import override

from ..facts.views import Kind, Raw
from ..vocabulary import names
from .kube.resources import RESOURCES

logger = logging.getLogger(__name__)

WATCHED: Final = (Kind.FINE_TUNE_JOB, Kind.JOB, Kind.DEPLOYMENT, Kind.POD)
Deliver = Callable[[Kind, str | None, Raw], None]
"""Takes one event: kind, type (None: listed) and object."""

_KINDS: Final = {RESOURCES[kind].plural: kind for kind in WATCHED}
SILENCE_LIMIT: Final = 150.0
"""A watch without any event for this long is dead, and only a new process helps. A live one says something
after 131 s at the latest: the first bookmark, due after 60 s, may be left out (docs/adr/0040), the watch is
opened anew after 70 s, and the next one is not. The relist is no excuse: it tells of what is gone, never of
what is new."""

ENDED_PODS: Final = "status.phase!=Pending,status.phase!=Running"
OURS: Final = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"


class _Backoffs:
    """Endless, 0.5 to 15 s, jittered: after any outage the resource version is kept, so deletions replay."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay * random.uniform(0.5, 1.0)
            delay = min(delay * 2, 15.0)


class _NoDiffs(kopf.DiffBaseStorage):
    """Takes off a fifth of kopf's time: differences that no handler asks for."""

    @override
    def build(self, **_: Any) -> Any:
        return {}

    @override
    def fetch(self, **_: Any) -> Any:
        return None

    @override
    def store(self, **_: Any) -> None:
        raise AssertionError("kopf must not write")


def kopf_settings() -> kopf.OperatorSettings:
    """All of kopf's settings that differ from its defaults, each with its reason."""
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.enforce_retry_after = True  # the server knows its load
    settings.networking.request_timeout = 30  # the first list hangs for 5 minutes otherwise
    settings.networking.connect_timeout = 5
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = 70  # bookmarks come every 60 s: a silent stream is a dead one
    settings.watching.reconnect_backoff = 0.1
    settings.watching.chunk_size = 200  # whole lists would set the peak of memory, which Python keeps
    settings.posting.enabled = False  # Events are ours, one for each transition
    settings.peering.standalone = True  # no KopfPeering CRD; the Lease says who acts
    settings.scanning.disabled = True  # would need cluster-wide rights on CRDs and namespaces
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.finalizer = f"{names.GROUP}/never-used"  # on.event handlers add none
    settings.process.ultimate_exiting_timeout = None  # the kubelet ends what does not stop
    for kind in (Kind.JOB, Kind.DEPLOYMENT, Kind.POD):
        resource = RESOURCES[kind]
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = OURS
    # Pods that run are looked at on demand: only their ends arrive.
    settings.watching.field_selectors["", "v1", "pods"] = ENDED_PODS
    return settings


@dataclass(slots=True)
class _Stream:
    last: float
    """When anything came, a bookmark included."""
    listed: bool = False


@dataclass(slots=True, kw_only=True)
class Watches:
    """Health of all watches: when something came last, and whether everything has been listed."""

    expected: int
    """Kinds times namespaces."""
    on_restart: Callable[[str], None]
    _streams: dict[tuple[str, str], _Stream] = field(default_factory=dict)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, plural: str, namespace: str) -> None:
        """Something came on a stream."""
        now = asyncio.get_running_loop().time()
        self._streams.setdefault((plural, namespace), _Stream(now)).last = now

    def listed(self, plural: str, namespace: str) -> None:
        """A stream has listed everything."""
        self.heard(plural, namespace)
        self._streams[plural, namespace].listed = True
        if sum(stream.listed for stream in self._streams.values()) >= self.expected:
            self._ready.set()

    def denied(self, namespace: str) -> None:
        """We may not list one of several namespaces: nothing comes from it, and nobody waits for it."""
        for kind in WATCHED:
            self.listed(RESOURCES[kind].plural, namespace)

    async def wait_until_listed(self) -> None:
        """Return when every kind was listed and every listed object is in the index."""
        await self._ready.wait()

    def silent(self, now: float) -> str | None:
        """Say which watch has been silent for too long."""
        for (plural, namespace), stream in self._streams.items():
            if now - stream.last > SILENCE_LIMIT:
                where = f" in {namespace}" if namespace else ""
                return f"nothing has come on the watch of {plural}{where} for {now - stream.last:.0f} s"
        return None


@contextmanager
def guarded_watches(watches: Watches, deliver: Deliver) -> Iterator[None]:
    """Put the guard around every stream that kopf opens; ``deliver`` gets the events of all of them."""
    original = watching.infinite_watch

    async def guarded(
        *,
        settings: kopf.OperatorSettings,
        resource: Any,
        namespace: Any,
        operator_paused: Any = None,
        _iterations: int | None = None,
    ) -> AsyncIterator[Any]:
        where = (resource.plural, namespace or "")
        kind = _KINDS[resource.plural]
        known: dict[str, tuple[str, str]] = {}
        backoffs = iter(_Backoffs())
        while True:
            seen: set[str] = set()
            try:
                stream: AsyncGenerator[Any] = original(  # type: ignore[assignment]
                    settings=settings,
                    resource=resource,
                    namespace=namespace,
                    operator_paused=operator_paused,
                )
                async with aclosing(stream):
                    async for event in stream:
                        watches.heard(*where)
                        if event is watching.Bookmark.LISTED:
                            # What was deleted while the stream was broken is in no event.
                            for uid in known.keys() - seen:
                                namespace_, name = known.pop(uid)
                                deliver(kind, "DELETED", _tombstone(uid, namespace_, name))
                            seen, backoffs = set(), iter(_Backoffs())
                            watches.listed(*where)
                        elif not isinstance(event, watching.Bookmark) and event["type"] != "BOOKMARK":
                            _remember(event, known, seen)
                            deliver(kind, event["type"], event["object"])
                            continue
                        yield event
            except Exception as error:
                delay = next(backoffs)
                watches.on_restart(resource.plural)
                logger.warning(
                    "Restarting a watch",
                    extra={"resource": resource.plural, "reason": repr(error), "delay": round(delay, 1)},
                )
                await asyncio.sleep(delay)

    watching.infinite_watch = guarded
    try:
        yield
    finally:
        watching.infinite_watch = original


def _remember(event: Any, known: dict[str, tuple[str, str]], seen: set[str]) -> None:
    meta = event["object"]["metadata"]
    uid = meta["uid"]
    if event["type"] == "DELETED":
        known.pop(uid, None)
        return
    if event["type"] is None:
        seen.add(uid)
    known[uid] = (meta.get("namespace", ""), meta["name"])


def _tombstone(uid: str, namespace: str, name: str) -> Raw:
    return {"metadata": {"uid": uid, "namespace": namespace, "name": name}}


async def watch_all(
    registry: kopf.OperatorRegistry, namespaces: Sequence[str], *, started: Callable[[], None]
) -> None:
    """Run kopf inside our own loop until cancelled: neither signals nor other tasks are its business."""
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings(),
        identity=Identity("kubetune"),  # kopf would ask who the user is, and an assigned uid has no name
        standalone=True,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
    started()
    await kopf.run_tasks(tasks, ignored=_Everything())


class _Everything(Collection[Any]):
    """Tasks that kopf must not cancel when it ends: it takes every task of the loop for its own."""

    @override
    def __contains__(self, _: object) -> bool:
        return True

    @override
    def __iter__(self) -> Iterator[Any]:
        return iter(())

    @override
    def __len__(self) -> int:
        return 0


def expected_streams(namespaces: Sequence[str]) -> int:
    """How many streams kopf opens."""
    return len(WATCHED) * max(1, len(namespaces))
