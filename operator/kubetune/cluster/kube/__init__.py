"""The seam to the API server: everything that the operator asks of it, as one Protocol.

``client`` implements it over ``kubernetes.aio``; tests implement it in memory. Objects are raw JSON.
All methods raise the errors of ``kubetune.vocabulary.errors``, and no others.
``within``: seconds after which a write must not take effect any more; as long as any request, if not said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ...facts.views import Kind, Listing, Manifest, Raw
from ...vocabulary.names import FIELD_MANAGER


class Kube(Protocol):
    """The API server."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Raw:
        """Read one object, live."""
        ...

    async def list(self, kind: Kind, namespace: str, *, selector: str) -> Sequence[Raw]:
        """List objects of one namespace by label selector."""
        ...

    async def list_metadata(self, kind: Kind) -> Listing:
        """Metadata of all our objects of a kind in the watched namespaces, as of now (relist)."""
        ...

    async def events_of(self, namespace: str, *, name: str, uid: str) -> Sequence[Raw]:
        """Events about one object, oldest first; not those of an earlier object of its name."""
        ...

    async def create(self, manifest: Manifest, *, within: float | None = None) -> Raw:
        """POST; Conflict when the name is taken."""
        ...

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, within: float | None = None
    ) -> Raw:
        """Server-side apply, forced."""
        ...

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, within: float | None = None
    ) -> None:
        """Delete in the background, only the object with this uid; NotFound is success."""
        ...

    async def patch_status(
        self, namespace: str, name: str, *, uid: str, status: dict[str, Any], within: float | None = None
    ) -> Raw:
        """Merge-patch the status of one FineTuneJob (None removes a field); the uid is a precondition."""
        ...
