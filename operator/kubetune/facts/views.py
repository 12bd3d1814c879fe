"""Projections of the cluster's objects: the few fields that decisions need. ``parse`` makes them.

The index keeps these instead of whole objects (a Pod is 8 kB, its projection a few hundred bytes), and an
event that changes nothing in the projection enqueues nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

Raw = Mapping[str, Any]
"""An object as the API server sends it."""

Manifest = dict[str, Any]
"""A desired object as a plain dict, exactly as it is sent."""


class Kind(StrEnum):
    """Kinds that the operator owns or watches; the values are Kubernetes kinds."""

    FINE_TUNE_JOB = "FineTuneJob"
    JOB = "Job"
    POD = "Pod"
    CONFIG_MAP = "ConfigMap"
    SERVICE = "Service"
    DEPLOYMENT = "Deployment"
    CLAIM = "PersistentVolumeClaim"
    NETWORK_POLICY = "NetworkPolicy"


TERMINAL_PHASES: Final = ("Succeeded", "Failed")
"""Phases of pods that have ended."""

PARENTS: Final = (Kind.FINE_TUNE_JOB,)
"""Kinds that people make; every other object is a child of one of them."""


@dataclass(frozen=True, slots=True)
class Key:
    """Kind, namespace and name of an object that people make: the unit of work."""

    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What every projection has."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str | None
    """uid of the controller owner reference."""
    finetunejob: str | None
    """Value of the label ``kubetune.dev/finetunejob``."""
    deleting: bool
    managed: bool = True
    """Carries the label that watches and lists select by."""

    @property
    def key(self) -> Key | None:
        """Whose child this object is, by its label."""
        if self.finetunejob is None:
            return None
        return Key(Kind.FINE_TUNE_JOB, self.namespace, self.finetunejob)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionView:
    """A condition of a child."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None = None
    """lastTransitionTime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView(Meta):
    """A batch/v1 Job: one run of a stage."""

    stage: str | None
    """By the Job's name, as is ``number``: labels can be edited."""
    number: int
    created: datetime | None
    started: datetime | None
    completed: datetime | None
    completions: int
    parallelism: int
    suspended: bool
    """spec.suspend: no pod may run, and those that ran have been deleted."""
    active: int
    ready: int
    succeeded: int
    failed: int
    terminating: int
    conditions: tuple[ConditionView, ...]

    def condition(self, type_: str) -> ConditionView | None:
        """The condition of that type when it is True."""
        return next((c for c in self.conditions if c.type == type_ and c.status == "True"), None)

    @property
    def has_all_pods(self) -> bool:
        """Whether all its pods are ready or have succeeded."""
        return self.ready + self.succeeded >= max(self.completions, 1)

    @property
    def is_over(self) -> bool:
        """Whether no pods of it will be made any more, whatever becomes of it."""
        return any(self.condition(type_) for type_ in ("Complete", "Failed", "FailureTarget"))

    @property
    def has_ended(self) -> bool:
        """Whether all its pods are gone or have ended, too."""
        return any(self.condition(type_) for type_ in ("Complete", "Failed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView(Meta):
    """A pod that has ended (only terminal pods are watched)."""

    stage: str | None
    """By its containers."""
    index: int | None
    """Completion index, which is the node rank."""
    phase: str
    reason: str
    """status.reason, as Evicted."""
    message: str
    node: str | None
    exit_code: int | None
    """Of the trainer container; None when it never ran."""
    container_reason: str
    """OOMKilled, Error, Completed, ..."""
    termination: str
    """Raw termination message of the trainer container."""
    started: datetime | None
    """When its kubelet took it: from then on it holds what it asks for, while images are pulled too."""
    finished: datetime | None
    """When its trainer container ended, by the same kubelet's clock."""
    disruption: str | None
    """Message of the DisruptionTarget condition when it is True."""
    released: bool
    """Deleted, and not to be counted: its Job was suspended or deleted, or has failed already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView(Meta):
    """The Deployment of a server."""

    generation: int
    observed_generation: int
    replicas: int
    updated: int
    ready: int
    available: int
    conditions: tuple[ConditionView, ...]
    intent: str | None
    """Annotation ``kubetune.dev/intent``: digest of what it was made from."""
    applied: str | None
    """Annotation ``kubetune.dev/live``: digest of ``live`` as it was applied."""
    size: int
    """spec.replicas."""
    owns_size: bool = False
    """Our field manager owns it."""
    live: tuple[str, ...]
    """What else people edit by hand: image, command and arguments of the server container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareView(Meta):
    """A child of which only its existence and age matter (ConfigMap, Service, claim)."""

    created: datetime | None = None


View = JobView | PodView | DeploymentView | BareView


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects of a kind at one moment."""

    views: tuple[BareView, ...]
    resource_version: int
    """Of the list: an object with a lower version that is not in the list does not exist."""
    denied: frozenset[str] = frozenset()
    """Namespaces that we may not list: what is there now is not known."""
