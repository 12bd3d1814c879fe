"""The one place that every write passes: none is sent by an operator that may not act any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ..facts.views import Kind, Listing, Manifest, Raw
from ..vocabulary.errors import TransientError
from ..vocabulary.names import FIELD_MANAGER
from .election import Term
from .kube import Kube

T = TypeVar("T")


class FencedKube:
    """The Kube Protocol for one term: reads are free, writes end with it.

    Whether the term lasts is asked right before a write is sent, of this process's own clock. What is under
    way when it ends is given up, here and by the API server, before another operator can hold the Lease.
    """

    def __init__(self, kube: Kube, term: Term) -> None:
        self._kube = kube
        self._term = term

    async def get(self, kind: Kind, namespace: str, name: str) -> Raw:
        """Read one object, live."""
        return await self._kube.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, *, selector: str) -> Sequence[Raw]:
        """List objects of one namespace by label selector."""
        return await self._kube.list(kind, namespace, selector=selector)

    async def list_metadata(self, kind: Kind) -> Listing:
        """Metadata of all our objects of a kind."""
        return await self._kube.list_metadata(kind)

    async def events_of(self, namespace: str, *, name: str, uid: str) -> Sequence[Raw]:
        """Events about one object."""
        return await self._kube.events_of(namespace, name=name, uid=uid)

    async def create(self, manifest: Manifest, *, within: float | None = None) -> Raw:
        """POST, in this term only."""
        return await self._write(lambda left: self._kube.create(manifest, within=left), within)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, within: float | None = None
    ) -> Raw:
        """Server-side apply, in this term only."""
        return await self._write(
            lambda left: self._kube.apply(manifest, manager=manager, within=left), within
        )

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, within: float | None = None
    ) -> None:
        """Delete, in this term only."""
        await self._write(lambda left: self._kube.delete(kind, namespace, name, uid=uid, within=left), within)

    async def patch_status(
        self, namespace: str, name: str, *, uid: str, status: dict[str, Any], within: float | None = None
    ) -> Raw:
        """Patch a status, in this term only."""
        return await self._write(
            lambda left: self._kube.patch_status(namespace, name, uid=uid, status=status, within=left), within
        )

    async def _write(self, send: Callable[[float], Awaitable[T]], within: float | None) -> T:
        left = self._term.left_to_write(asyncio.get_running_loop().time())
        if left <= 0:
            raise TransientError("nothing was written: another operator may hold the Lease")
        if within is not None:
            left = min(left, within)
        try:
            async with asyncio.timeout(left):
                return await send(left)
        except TimeoutError:
            raise TransientError(
                f"a write was given up after {left:.0f} s: the API server has not answered in time"
            ) from None
