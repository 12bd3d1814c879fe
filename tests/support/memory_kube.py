"""An API server in memory, as far as the operator can tell: versions, conflicts, preconditions, collection.

Implements the Kube Protocol in virtual time. Every write can be watched, counted, or made to fail.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from kubetune.cluster.kube import Manifest
from kubetune.cluster.kube.resources import RESOURCES
from kubetune.facts.parse import parse_bare
from kubetune.facts.views import Kind, Listing, Raw
from kubetune.vocabulary.errors import Conflict, KubeError, NotFound
from kubetune.vocabulary.names import FIELD_MANAGER
from tests.support import virtual_time

Object = dict[str, Any]
Place = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that reached the server."""

    verb: str
    kind: str
    name: str

    @property
    def is_write(self) -> bool:
        return self.verb in ("create", "apply", "delete", "patch") and self.kind not in ("Event", "Lease")

    @override
    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


Watcher = Callable[[Kind, str, Object], None]

Lag = float | Callable[[], float]
"""Seconds that somebody takes, the same each time or drawn."""


def drawn(lag: Lag) -> float:
    """The seconds that it takes this time."""
    return lag() if callable(lag) else lag


@dataclass(slots=True, kw_only=True)
class MemoryKube:
    """The store, and the requests that it saw."""

    latency: float = 0.005
    collect_after: Lag = 0.5
    """When the garbage collector takes what has lost its owner."""
    pods_end_after: Lag = 0.0
    """From a pod's deletion to its end."""
    requests: list[Request] = field(default_factory=list)
    before: Callable[[Request], None] = lambda _request: None
    """Called before a request takes effect; raises what the server would answer."""
    admit: Callable[[Manifest], Manifest] = lambda manifest: manifest
    """What mutating webhooks make of an object that is applied."""
    validate_status: Callable[[dict[str, Any]], None] = lambda _status: None
    """What the schema has to say about a patch of a status; raises."""
    prune: Callable[[dict[str, Any]], dict[str, Any]] = lambda status: status
    """What the schema leaves of a patch of a status."""
    after: Callable[[Request], None] = lambda _request: None
    """Called when a request took effect, before it is answered."""
    watchers: list[Watcher] = field(default_factory=list)
    objects: dict[Place, Object] = field(default_factory=dict)
    _version: int = 100
    _uids: int = 0

    @property
    def writes(self) -> list[str]:
        """Requests that change something, Events and Leases left out."""
        return [str(request) for request in self.requests if request.is_write]

    # The Protocol.

    async def get(self, kind: Kind, namespace: str, name: str) -> Raw:
        await self._arrive(Request("get", kind, name))
        return copy.deepcopy(self._find(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str, *, selector: str) -> Sequence[Raw]:
        await self._arrive(Request("list", kind, selector))
        return [copy.deepcopy(o) for o in self.of_kind(kind) if _matches(o, selector) and _in(o, namespace)]

    async def list_metadata(self, kind: Kind) -> Listing:
        await self._arrive(Request("list", kind, "*"))
        selector = "" if kind is Kind.FINE_TUNE_JOB else "app.kubernetes.io/managed-by=kubetune"
        views = tuple(parse_bare(o, kind) for o in self.of_kind(kind) if _matches(o, selector))
        return Listing(views=views, resource_version=self._version)

    async def events_of(self, namespace: str, *, name: str, uid: str) -> Sequence[Raw]:
        await self._arrive(Request("list", "Event", name))
        return [
            copy.deepcopy(o)
            for (k, n, _), o in self.objects.items()
            if k == "Event" and n == namespace and _about(o) == uid
        ]

    async def create(self, manifest: Manifest, *, within: float | None = None) -> Raw:
        del within
        meta = manifest["metadata"]
        name = meta.get("name") or f"{meta['generateName']}{self._uids}"
        request = Request("create", manifest["kind"], name)
        await self._arrive(request)
        if (manifest["kind"], meta["namespace"], name) in self.objects:
            raise _error(Conflict, "create", manifest["kind"], name, 409)
        answer = self.add({**manifest, "metadata": {**meta, "name": name, "managedFields": _OURS}})
        return self._answer(request, answer)

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, within: float | None = None
    ) -> Raw:
        del manager, within
        meta = manifest["metadata"]
        request = Request("apply", manifest["kind"], meta["name"])
        await self._arrive(request)
        known = self.objects.get((manifest["kind"], meta["namespace"], meta["name"]))
        if known is None:
            if "uid" in meta:
                raise _error(Conflict, "apply", manifest["kind"], meta["name"], 409)
            return self._answer(request, self.add(self.admit(manifest)))
        if meta.get("uid", known["metadata"]["uid"]) != known["metadata"]["uid"]:
            raise _error(Conflict, "apply", manifest["kind"], meta["name"], 409)
        return self._answer(request, self.change(known, self.admit(manifest)))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, within: float | None = None
    ) -> None:
        del within
        request = Request("delete", kind, name)
        await self._arrive(request)
        known = self.objects.get((kind, namespace, name))
        if known is not None and known["metadata"]["uid"] == uid:
            self.remove(known)
        self.after(request)

    async def patch_status(
        self, namespace: str, name: str, *, uid: str, status: dict[str, Any], within: float | None = None
    ) -> Raw:
        del within
        request = Request("patch", Kind.FINE_TUNE_JOB, name)
        await self._arrive(request)
        known = self._find(Kind.FINE_TUNE_JOB, namespace, name)
        if known["metadata"]["uid"] != uid:
            raise _error(Conflict, "patch", Kind.FINE_TUNE_JOB, name, 409)
        self.validate_status(status)
        return self._answer(request, self.change(known, {"status": self.prune(status)}))

    async def get_lease(self, namespace: str, name: str, *, within: float) -> Raw:
        del within
        await self._arrive(Request("get", "Lease", name))
        return copy.deepcopy(self._find("Lease", namespace, name))

    async def put_lease(self, lease: Raw, *, within: float) -> Raw:
        del within
        meta = lease["metadata"]
        version = meta.get("resourceVersion")
        request = Request("create" if version is None else "update", "Lease", meta["name"])
        await self._arrive(request)
        known = self.objects.get(("Lease", meta["namespace"], meta["name"]))
        if version is None and known is None:
            return self._answer(request, self.add(lease))
        if known is None:
            raise _error(NotFound, request.verb, "Lease", meta["name"], 404)
        if version != known["metadata"]["resourceVersion"]:
            raise _error(Conflict, request.verb, "Lease", meta["name"], 409)
        return self._answer(request, self.change(known, {"spec": lease["spec"]}))

    # What others do to the cluster.

    def add(self, manifest: Manifest) -> Object:
        """Create an object."""
        self._uids += 1
        raw = copy.deepcopy(dict(manifest))
        if raw["kind"] == Kind.DEPLOYMENT:
            raw["spec"].setdefault("replicas", 1)
        raw["metadata"] |= {
            "uid": f"uid-{self._uids}",
            "resourceVersion": self._next(),
            "generation": 1,
            "creationTimestamp": virtual_time.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self.objects[_place(raw)] = raw
        self._tell("ADDED", raw)
        owner = _owner(raw)
        if owner is not None and all(o["metadata"]["uid"] != owner for o in self.objects.values()):
            self._collect_later(raw["metadata"]["uid"])
        return raw

    def change(self, known: Object, patch: Manifest) -> Object:
        """Merge a patch into an object; nothing happens when it changes nothing."""
        merged: Object = _merge(known, patch)
        if merged == known:
            return known
        if merged.get("spec") != known.get("spec"):
            merged["metadata"]["generation"] += 1
        merged["metadata"]["resourceVersion"] = self._next()
        self.objects[_place(merged)] = merged
        self._tell("MODIFIED", merged)
        return merged

    def remove(self, known: Object) -> None:
        """Delete an object; what it owns is collected later."""
        place = _place(known)
        if self.objects.get(place, {}).get("metadata", {}).get("uid") != known["metadata"]["uid"]:
            return
        raw = self.objects.pop(place)
        raw = {**raw, "metadata": {**raw["metadata"], "resourceVersion": self._next()}}
        self._tell("DELETED", raw)
        for other in list(self.objects.values()):
            if _owner(other) == raw["metadata"]["uid"]:
                self._collect_later(other["metadata"]["uid"])

    def of_kind(self, kind: str) -> Iterator[Object]:
        """All objects of a kind."""
        return (o for (k, _, _), o in list(self.objects.items()) if k == kind)

    def find(self, kind: str, name: str, *, namespace: str = "team") -> Object | None:
        """One object, or None."""
        return self.objects.get((kind, namespace, name))

    def _find(self, kind: str, namespace: str, name: str) -> Object:
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise _error(NotFound, "get", kind, name, 404)
        return found

    async def _arrive(self, request: Request) -> None:
        await asyncio.sleep(self.latency)
        self.requests.append(request)
        self.before(request)

    def _answer(self, request: Request, raw: Object) -> Object:
        self.after(request)
        return copy.deepcopy(raw)

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _tell(self, type_: str, raw: Object) -> None:
        if raw["kind"] in (Kind.FINE_TUNE_JOB, Kind.JOB, Kind.POD, Kind.DEPLOYMENT):
            for watcher in self.watchers:
                watcher(Kind(raw["kind"]), type_, copy.deepcopy(raw))

    def _collect_later(self, uid: str) -> None:
        asyncio.get_running_loop().call_later(drawn(self.collect_after), self._collect, uid)

    def _collect(self, uid: str) -> None:
        for raw in [o for o in self.objects.values() if o["metadata"]["uid"] == uid]:
            grace = drawn(self.pods_end_after) if raw["kind"] == Kind.POD else 0.0
            if grace:
                stamp = virtual_time.now().strftime("%Y-%m-%dT%H:%M:%SZ")
                self.change(raw, {"metadata": {"deletionTimestamp": stamp}})
            asyncio.get_running_loop().call_later(grace, self.remove, raw)


def _place(raw: Object) -> Place:
    return raw["kind"], raw["metadata"]["namespace"], raw["metadata"]["name"]


def _in(raw: Object, namespace: str) -> bool:
    return bool(raw["metadata"]["namespace"] == namespace)


def _owner(raw: Object) -> str | None:
    return next((o["uid"] for o in raw["metadata"].get("ownerReferences") or ()), None)


def _matches(raw: Object, selector: str) -> bool:
    labels = raw["metadata"].get("labels") or {}
    wanted = (part.split("=", 1) for part in selector.split(",") if part)
    return all(labels.get(key) == value for key, value in wanted)


def _about(event: Object) -> str | None:
    about = event.get("involvedObject") or event.get("regarding") or {}
    uid: str | None = about.get("uid")
    return uid


def _merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _error(kind: type[KubeError], verb: str, of: str, name: str, status: int) -> KubeError:
    return kind("refused", verb=verb, kind=of, namespace="team", name=name, status=status)


_OURS = [{"manager": "kubetune", "operation": "Update"}]

assert set(RESOURCES) == set(Kind)
