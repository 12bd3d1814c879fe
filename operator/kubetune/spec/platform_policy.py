"""What the platform allows jobs to ask for, and how their pods are kept apart.

It holds at once, for jobs that run too, and is not frozen with the rest of a job's settings: a platform that
closes a door does not wait until the last job that it was open for has ended. ``process.settings`` reads it.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from ..api.base import SpecModel
from ..api.v1alpha1.network import Cidr, NetworkPeer

_ENTRY: Final = r"^([A-Za-z0-9][^\s*]*[*]?|[*])$"
Pattern = Annotated[str, StringConstraints(pattern=_ENTRY, max_length=512)]
"""A name, or with ``*`` at its end all that begin so; ``*`` is everything."""


def _without_tag(pattern: str) -> str:
    if "://" in pattern or ":" in pattern.rpartition("/")[2] or "@" in pattern:
        text = f'"{pattern}" is no repository; leave out scheme, tag and digest'
        raise PydanticCustomError("rule", "{message}", {"message": text, "path": ""})
    return pattern


RepositoryPattern = Annotated[Pattern, AfterValidator(_without_tag)]
"""A repository of images, likewise."""

KUEUE_TOPOLOGY: Final = tuple(
    f"kueue.x-k8s.io/podset-{kind}-topology" for kind in ("required", "preferred", "unconstrained")
)
KUEUE_QUEUE: Final = "kueue.x-k8s.io/queue-name"

_PROMETHEUS: Final = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}


class NetworkPolicies(SpecModel):
    """How the NetworkPolicies of jobs are made."""

    enabled: bool = True
    """Whether there are any."""
    operator: NetworkPeer | None = None
    """The operator's own pods; None: none of the cluster's, since it runs elsewhere."""
    gateway: NetworkPeer | None = None
    """Pods that answer clients of OpenAI's API, with what servers and trainers tell; None: there are none."""
    metrics_from: Annotated[tuple[NetworkPeer, ...], Field(max_length=16)] = (
        NetworkPeer.model_validate(_PROMETHEUS),
    )
    """Who reads the metrics of trainers and servers: Prometheus, by the label of its pods."""
    blocked_networks: Annotated[tuple[Cidr, ...], Field(max_length=64)] = (
        "169.254.0.0/16",
        "fd00:ec2::/32",
    )
    """Where no pod gets, even one that fetches models and data: where clouds tell credentials."""

    @cached_property
    def readers(self) -> list[dict[str, Any]]:
        """Operator, gateway and Prometheus, as manifests have them; made once: each look at a job asks."""
        own = tuple(peer for peer in (self.operator, self.gateway) if peer)
        return [peer.manifest() for peer in (*own, *self.metrics_from)]


class PlatformPolicy(BaseModel):
    """Settings that say what jobs may ask for. Platform templates are free of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    allowed_images: tuple[RepositoryPattern, ...] = ()
    """Repositories of spec.training.image and spec.serving.image: registry.example.com/ml/*."""
    allowed_service_accounts: tuple[Pattern, ...] = ()
    """podTemplate.serviceAccountName."""
    allowed_token_audiences: tuple[Pattern, ...] = ()
    """Audiences of tokens that podTemplate projects: sts.amazonaws.com."""
    allowed_csi_drivers: tuple[Pattern, ...] = ()
    """Drivers of inline volumes in podTemplate."""
    allowed_annotations: tuple[Pattern, ...] = KUEUE_TOPOLOGY
    """Keys of podTemplate.annotations."""
    allowed_labels: tuple[Pattern, ...] = (KUEUE_QUEUE,)
    """Keys of podTemplate.labels."""
    allowed_priority_classes: tuple[Pattern, ...] = ()
    """podTemplate.priorityClassName."""
    allowed_environment: tuple[Pattern, ...] = ()
    """Variables that container runtimes read; ``*`` allows envFrom without a prefix, too."""
    network_policies: NetworkPolicies = NetworkPolicies()


def allows(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns names it."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns
    )


_REFERENCE: Final = re.compile(r"(?P<repository>[^@]+?)(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@.*)?")
_DOCKER: Final = "docker.io"


def repository_of(image: str) -> str:
    """The repository of an image in full, without tag and digest: docker.io/library/python for python:3.

    As container runtimes read it: the first part is a registry only if it has a dot or a port, or is
    ``localhost``.
    """
    found = _REFERENCE.fullmatch(image)
    repository = found["repository"] if found else image
    return in_full(repository)


def in_full(repository: str) -> str:
    """A repository, or the beginning of some, with its registry."""
    first, slash, rest = repository.partition("/")
    if not slash:
        return f"{_DOCKER}/library/{repository}"
    if "." in first or ":" in first or first == "localhost":
        return repository if first != _DOCKER or "/" in rest else f"{_DOCKER}/library/{rest}"
    return f"{_DOCKER}/{repository}"
