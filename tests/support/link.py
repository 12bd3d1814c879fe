"""The network between one operator and the API server in memory: slow, or cut, and it delivers late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kubetune.cluster.kube import Manifest
from kubetune.facts.views import Kind, Listing, Raw
from kubetune.vocabulary.errors import TransientError
from kubetune.vocabulary.names import FIELD_MANAGER
from tests.support.memory_kube import MemoryKube

T = TypeVar("T")

FOREVER = 1e9
TIMEOUT = 30.0
"""Seconds after which a client gives up, as the real one does."""


@dataclass(slots=True, kw_only=True)
class Link:
    """Implements the Protocols of the API server for one operator.

    A request that its sender has given up arrives all the same, unless the API server was told to give up.
    """

    kube: MemoryKube
    who: str
    cut: bool = False
    """Nothing arrives, and nothing is answered."""
    there: Callable[[], float] = lambda: 0.0
    """Seconds that a request takes to arrive."""
    back: Callable[[], float] = lambda: 0.0
    """Seconds that its answer takes."""
    arrived: list[tuple[float, str, str]] = field(default_factory=list)
    """Writes: when they took effect, what they were, and whom the Lease named then."""
    _under_way: set[asyncio.Task[Any]] = field(default_factory=set)

    async def get(self, kind: Kind, namespace: str, name: str) -> Raw:
        return await self._send(lambda: self.kube.get(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str, *, selector: str) -> Sequence[Raw]:
        return await self._send(lambda: self.kube.list(kind, namespace, selector=selector))

    async def list_metadata(self, kind: Kind) -> Listing:
        return await self._send(lambda: self.kube.list_metadata(kind))

    async def events_of(self, namespace: str, *, name: str, uid: str) -> Sequence[Raw]:
        return await self._send(lambda: self.kube.events_of(namespace, name=name, uid=uid))

    async def create(self, manifest: Manifest, *, within: float | None = None) -> Raw:
        what = f"create {manifest['kind']}"
        return await self._send(lambda: self.kube.create(manifest), what=what, within=within)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, within: float | None = None
    ) -> Raw:
        what = f"apply {manifest['kind']}"
        return await self._send(lambda: self.kube.apply(manifest, manager=manager), what=what, within=within)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, within: float | None = None
    ) -> None:
        def request() -> Awaitable[None]:
            return self.kube.delete(kind, namespace, name, uid=uid)

        await self._send(request, what=f"delete {kind}", within=within)

    async def patch_status(
        self, namespace: str, name: str, *, uid: str, status: dict[str, Any], within: float | None = None
    ) -> Raw:
        def request() -> Awaitable[Raw]:
            return self.kube.patch_status(namespace, name, uid=uid, status=status)

        return await self._send(request, what="patch status", within=within)

    async def get_lease(self, namespace: str, name: str, *, within: float) -> Raw:
        return await self._send(lambda: self.kube.get_lease(namespace, name, within=within), within=within)

    async def put_lease(self, lease: Raw, *, within: float) -> Raw:
        return await self._send(lambda: self.kube.put_lease(lease, within=within), within=within)

    async def _send(
        self, request: Callable[[], Awaitable[T]], *, what: str = "", within: float | None = None
    ) -> T:
        task = asyncio.create_task(self._carry(request, what, within))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await asyncio.shield(task)
        except TimeoutError:
            raise TransientError("no answer") from None

    async def _carry(self, request: Callable[[], Awaitable[T]], what: str, within: float | None) -> T:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        if self.cut:
            await asyncio.sleep(FOREVER)
        await asyncio.sleep(self.there())
        if self.cut:
            await asyncio.sleep(FOREVER)
        if within is not None and loop.time() + self.kube.latency > sent + within:
            raise TransientError("the API server gave up")
        try:
            answer = await request()
        finally:
            if what:
                self.arrived.append((loop.time(), what, self._holder()))
        await asyncio.sleep(self.back())
        if self.cut:
            await asyncio.sleep(FOREVER)
        return answer

    def _holder(self) -> str:
        leases = list(self.kube.of_kind("Lease"))
        return str(leases[0]["spec"].get("holderIdentity", "")) if leases else ""

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever sent it may have gone
