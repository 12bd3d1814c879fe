"""The gateway's Lease on the API server, for ``kubetune.cluster.lease.Elector``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubetune.cluster.kube.errors import Target

from .api_server import FIELD_MANAGER, ApiServer, path_of

_KIND: Final = "leases"


class KubeLeases:
    """Leases of the API server. Raises errors of ``kubetune.vocabulary.errors``, which the Elector knows."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def get_lease(self, namespace: str, name: str, *, within: float) -> dict[str, Any]:
        """Read it, live; NotFound when there is none."""
        target = Target(verb="get", kind=_KIND, namespace=namespace, name=name)
        return await self._api.send("GET", _path(namespace, name), target, within=within)

    async def put_lease(self, lease: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        """Replace the version that it names, or make it when it names none; Conflict when it has changed."""
        meta = lease["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        makes = "resourceVersion" not in meta
        return await self._api.send(
            "POST" if makes else "PUT",
            _path(namespace, None if makes else name),
            Target(verb="create" if makes else "update", kind=_KIND, namespace=namespace, name=name),
            # The API server gives up as well, be it that nobody can tell it that we have.
            query={"fieldManager": FIELD_MANAGER, "timeout": f"{max(1, int(within * 1000))}ms"},
            body=lease,
            within=within,
        )


def _path(namespace: str, name: str | None) -> str:
    return path_of("leases", group="coordination.k8s.io", version="v1", namespace=namespace, name=name)
