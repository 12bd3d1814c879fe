"""The Kube Protocol over HTTP: raw JSON, one pool, one place for errors.

Of ``kubernetes.aio`` only the configuration is used: its ApiClient takes a quarter of what a request costs,
and its generated API classes (``CoreV1Api``, ...) take more. Nothing is retried here: the queue does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from pydantic_core import to_json

from ...facts.parse import parse_bare
from ...facts.views import BareView, Kind, Listing, Manifest, Raw
from ...vocabulary import names
from ...vocabulary.errors import Conflict, KubeError, NotFound
from .answers import an_object, decode, items_of, version_of
from .connection import new_session
from .errors import Target, from_failure, from_response
from .resources import EVENTS, LEASES, RESOURCES, Resource, of_manifest

TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
USER_AGENT: Final = "kubetune"
JSON: Final = "application/json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"

RequestHook = Callable[[str, str, str], None]
"""Told verb, resource and code of every request."""


class ApiKube:
    """The API server, over HTTP."""

    def __init__(
        self, configuration: Configuration, *, namespaces: Sequence[str] = (), on_request: RequestHook
    ) -> None:
        self._host = configuration.host
        self._tls_server_name = configuration.tls_server_name
        self._session = new_session(configuration)
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._on_request = on_request

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Raw:
        """Read one object, live."""
        target = Target(verb="get", kind=kind, namespace=namespace, name=name)
        path = RESOURCES[kind].path(namespace, name)
        return an_object(target, await self._request("GET", target, RESOURCES[kind], path))

    async def list(self, kind: Kind, namespace: str, *, selector: str) -> Sequence[Raw]:
        """List objects of one namespace by label selector."""
        target = Target(verb="list", kind=kind, namespace=namespace, name="")
        path = RESOURCES[kind].path(namespace)
        query = {"labelSelector": selector}
        return items_of(target, await self._request("GET", target, RESOURCES[kind], path, query=query))

    async def list_metadata(self, kind: Kind) -> Listing:
        """Metadata of all our objects of a kind in the watched namespaces, as of now.

        Not from a watch cache of any age (``resourceVersion=0``): asking for the present is what lets a
        quiet cluster send bookmarks (docs/adr/0040). A namespace that denies us, as one that is gone does
        with its Role, does not keep us from the others.
        """
        ours = {"labelSelector": f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"}
        query = {} if kind is Kind.FINE_TUNE_JOB else ours
        results = await asyncio.gather(
            *(self._list_one(kind, namespace, query) for namespace in self._namespaces),
            return_exceptions=True,
        )
        lists = [result for result in results if not isinstance(result, BaseException)]
        errors = [result for result in results if isinstance(result, BaseException)]
        denied = {error.namespace for error in errors if isinstance(error, KubeError) and error.status == 403}
        if errors and (not lists or len(denied) < len(errors)):
            raise errors[0]
        return Listing(
            views=tuple(view for views, _ in lists for view in views),
            resource_version=min(version for _, version in lists),
            denied=frozenset(denied),
        )

    async def _list_one(
        self, kind: Kind, namespace: str | None, query: Mapping[str, str]
    ) -> tuple[tuple[BareView, ...], int]:
        target = Target(verb="list", kind=kind, namespace=namespace or "*", name="")
        path = RESOURCES[kind].path(namespace)
        answer = await self._request("GET", target, RESOURCES[kind], path, query=query, accept=METADATA_LIST)
        views = tuple(parse_bare(item, kind) for item in items_of(target, answer))
        return views, version_of(target, answer)

    async def events_of(self, namespace: str, *, name: str, uid: str) -> Sequence[Raw]:
        """Events about one object, oldest first; not those of an earlier object of its name."""
        target = Target(verb="list", kind="Event", namespace=namespace, name=name)
        query = {"fieldSelector": f"involvedObject.uid={uid}"}
        answer = await self._request("GET", target, EVENTS, EVENTS.path(namespace), query=query)
        found = items_of(target, answer)
        return sorted(found, key=_event_time)

    async def create(self, manifest: Manifest, *, within: float | None = None) -> Raw:
        """POST; Conflict when the name is taken."""
        target, resource = _target("create", manifest), of_manifest(manifest)
        path = resource.path(target.namespace)
        query = {"fieldManager": names.FIELD_MANAGER}
        answer = await self._request(
            "POST", target, resource, path, query=query, body=manifest, within=within
        )
        return an_object(target, answer)

    async def apply(
        self, manifest: Manifest, *, manager: str = names.FIELD_MANAGER, within: float | None = None
    ) -> Raw:
        """Server-side apply, forced."""
        target, resource = _target("apply", manifest), of_manifest(manifest)
        path = resource.path(target.namespace, target.name)
        query = {"fieldManager": manager, "force": "true"}
        answer = await self._request(
            "PATCH", target, resource, path, query=query, body=manifest, content=APPLY, within=within
        )
        return an_object(target, answer)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, within: float | None = None
    ) -> None:
        """Delete in the background, only the object with this uid; when that is gone, it is success."""
        target = Target(verb="delete", kind=kind, namespace=namespace, name=name)
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            path = RESOURCES[kind].path(namespace, name)
            await self._request("DELETE", target, RESOURCES[kind], path, body=body, within=within)
        except (NotFound, Conflict):
            return

    async def patch_status(
        self, namespace: str, name: str, *, uid: str, status: dict[str, Any], within: float | None = None
    ) -> Raw:
        """Merge-patch the status of one FineTuneJob (None removes a field); the uid is a precondition."""
        target = Target(verb="patch", kind=Kind.FINE_TUNE_JOB, namespace=namespace, name=name)
        resource = RESOURCES[Kind.FINE_TUNE_JOB]
        path = resource.path(namespace, name, "status")
        query = {"fieldManager": names.FIELD_MANAGER}
        body = {"metadata": {"uid": uid}, "status": status}
        answer = await self._request(
            "PATCH", target, resource, path, query=query, body=body, content=MERGE_PATCH, within=within
        )
        return an_object(target, answer)

    async def get_lease(self, namespace: str, name: str, *, within: float) -> Raw:
        """Read a Lease, live; NotFound when there is none."""
        target = Target(verb="get", kind="Lease", namespace=namespace, name=name)
        return await self._request("GET", target, LEASES, LEASES.path(namespace, name), within=within)

    async def put_lease(self, lease: Raw, *, within: float) -> Raw:
        """Replace the version that it names, or make it when it names none; Conflict when it has changed."""
        meta = lease["metadata"]
        makes = "resourceVersion" not in meta
        verb, method = ("create", "POST") if makes else ("update", "PUT")
        target = Target(verb=verb, kind="Lease", namespace=meta["namespace"], name=meta["name"])
        path = LEASES.path(target.namespace, None if makes else target.name)
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._request(method, target, LEASES, path, query=query, body=lease, within=within)

    async def _request(
        self,
        method: str,
        target: Target,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = JSON,
        accept: str = JSON,
        within: float | None = None,
    ) -> Raw:
        timeout = TIMEOUT
        if within is not None:
            # The API server gives up as well, be it that nobody can tell it that we have.
            timeout = aiohttp.ClientTimeout(total=within, sock_connect=5)
            query = {**(query or {}), "timeout": f"{max(1, int(within * 1000))}ms"}
        url = f"{self._host}{path}?{urlencode(query)}" if query else f"{self._host}{path}"
        code = "error"
        try:
            async with self._session.request(
                method,
                url,
                data=None if body is None else to_json(body),
                headers={"Accept": accept, "Content-Type": content, "User-Agent": USER_AGENT},
                timeout=timeout,
                server_hostname=self._tls_server_name,
            ) as response:
                payload = await response.read()
            code = str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise from_failure(target, error) from error
        finally:
            self._on_request(target.verb, resource.plural, code)
        if not 200 <= response.status <= 299:
            raise from_response(target, response.status, response.headers, payload)
        return decode(target, payload)


def _target(verb: str, manifest: Manifest) -> Target:
    meta = manifest["metadata"]
    name = meta.get("name") or meta.get("generateName", "")
    return Target(verb=verb, kind=manifest["kind"], namespace=meta["namespace"], name=name)


def _event_time(event: Raw) -> str:
    series = event.get("series") or {}
    time = (
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
    )
    return str(time or "")
