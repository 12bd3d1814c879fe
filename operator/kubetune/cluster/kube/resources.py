"""Where each kind lives in the API: pure paths, shared by the client and the watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ...facts.views import Kind
from ...vocabulary import names


@dataclass(frozen=True, slots=True)
class Resource:
    """Group, version and plural of a kind."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """As objects write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of a collection, an object, or a part of one; namespace None is all of them."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/" + "/".join(parts)


RESOURCES: Final[Mapping[Kind, Resource]] = {
    Kind.FINE_TUNE_JOB: Resource(names.GROUP, names.VERSION, names.PLURAL),
    Kind.JOB: Resource("batch", "v1", "jobs"),
    Kind.POD: Resource("", "v1", "pods"),
    Kind.CONFIG_MAP: Resource("", "v1", "configmaps"),
    Kind.SERVICE: Resource("", "v1", "services"),
    Kind.DEPLOYMENT: Resource("apps", "v1", "deployments"),
    Kind.CLAIM: Resource("", "v1", "persistentvolumeclaims"),
    Kind.NETWORK_POLICY: Resource("networking.k8s.io", "v1", "networkpolicies"),
}

EVENTS: Final = Resource("", "v1", "events")
"""Read as core/v1: that view holds the Events of both APIs."""

LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
"""Which operator acts; none of a job's objects."""

_BY_KIND: Final = {
    **{str(kind): resource for kind, resource in RESOURCES.items()},
    "Event": Resource("events.k8s.io", "v1", "events"),
}


def of_manifest(manifest: Mapping[str, object]) -> Resource:
    """Resource of a manifest; its apiVersion decides the version."""
    known = _BY_KIND[str(manifest["kind"])]
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return Resource(group, version, known.plural)
