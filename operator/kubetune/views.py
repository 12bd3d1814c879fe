"""Projections of the cluster's objects: the few fields that decisions need, parsed from raw JSON.

The index keeps these instead of whole objects (a Pod is 8 kB, its projection a few hundred bytes), and an
event that changes nothing in the projection enqueues nothing. Parsing is total: whatever users put into
labels or annotations never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from . import names

Raw = Mapping[str, Any]
"""An object as the API server sends it."""


class Kind(StrEnum):
    """Kinds that the operator owns or watches; the values are Kubernetes kinds."""

    FINE_TUNE_JOB = "FineTuneJob"
    JOB = "Job"
    POD = "Pod"
    CONFIG_MAP = "ConfigMap"
    SERVICE = "Service"
    DEPLOYMENT = "Deployment"
    CLAIM = "PersistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class Key:
    """Namespace and name of a FineTuneJob: the unit of work."""

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

    @property
    def key(self) -> Key | None:
        """The FineTuneJob that this object belongs to."""
        return None if self.finetunejob is None else Key(self.namespace, self.finetunejob)


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
    """A batch/v1 Job: prepare, or one attempt of training."""

    stage: str | None
    attempt: int
    created: datetime | None
    started: datetime | None
    completed: datetime | None
    completions: int
    active: int
    ready: int
    succeeded: int
    failed: int
    terminating: int
    conditions: tuple[ConditionView, ...]

    def condition(self, type_: str) -> ConditionView | None:
        """The condition of that type when it is True."""
        return next((c for c in self.conditions if c.type == type_ and c.status == "True"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView(Meta):
    """A trainer pod that has ended (only terminal pods are watched)."""

    stage: str | None
    attempt: int
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
    finished: datetime | None
    disruption: str | None
    """Message of the DisruptionTarget condition when it is True."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView(Meta):
    """The serving Deployment."""

    generation: int
    observed_generation: int
    replicas: int
    updated: int
    ready: int
    available: int
    conditions: tuple[ConditionView, ...]
    intent: str | None
    """Annotation ``kubetune.dev/intent``: digest of what was applied."""
    live: tuple[str, ...]
    """What people edit by hand, for drift: replicas, image, command and arguments of the server container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareView(Meta):
    """A child of which only its existence matters (ConfigMap, Service, claim)."""


View = JobView | PodView | DeploymentView | BareView


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects of a kind at one moment."""

    views: tuple[BareView, ...]
    resource_version: int
    """Of the list: an object with a lower version that is not in the list does not exist."""


def parse_meta(raw: Raw, kind: Kind) -> dict[str, Any]:
    """Arguments of Meta from an object's metadata."""
    meta = raw.get("metadata") or {}
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    return {
        "kind": kind,
        "namespace": meta.get("namespace", ""),
        "name": meta.get("name", ""),
        "uid": meta.get("uid", ""),
        "resource_version": meta.get("resourceVersion", ""),
        "owner_uid": owner.get("uid") if owner else None,
        "finetunejob": (meta.get("labels") or {}).get(names.LABEL_JOB),
        "deleting": "deletionTimestamp" in meta,
    }


def parse_job(raw: Raw) -> JobView:
    """Project a batch/v1 Job."""
    status, labels = raw.get("status") or {}, (raw.get("metadata") or {}).get("labels") or {}
    return JobView(
        **parse_meta(raw, Kind.JOB),
        stage=labels.get(names.LABEL_STAGE),
        attempt=_int(labels.get(names.LABEL_ATTEMPT)),
        created=parse_time((raw.get("metadata") or {}).get("creationTimestamp")),
        started=parse_time(status.get("startTime")),
        completed=parse_time(status.get("completionTime")),
        completions=_int((raw.get("spec") or {}).get("completions")),
        active=_int(status.get("active")),
        ready=_int(status.get("ready")),
        succeeded=_int(status.get("succeeded")),
        failed=_int(status.get("failed")),
        terminating=_int(status.get("terminating")),
        conditions=_conditions(status),
    )


def parse_pod(raw: Raw) -> PodView:
    """Project a trainer pod."""
    meta, status = raw.get("metadata") or {}, raw.get("status") or {}
    labels = meta.get("labels") or {}
    container: Raw = next(
        (c for c in status.get("containerStatuses") or () if c.get("name") == names.CONTAINER_TRAINER), {}
    )
    ended = (container.get("state") or {}).get("terminated") or {}
    index = (meta.get("annotations") or {}).get("batch.kubernetes.io/job-completion-index")
    disruption = next(
        (c for c in _conditions(status) if c.type == "DisruptionTarget" and c.status == "True"), None
    )
    return PodView(
        **parse_meta(raw, Kind.POD),
        stage=labels.get(names.LABEL_STAGE),
        attempt=_int(labels.get(names.LABEL_ATTEMPT)),
        index=None if index is None else _int(index),
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        node=(raw.get("spec") or {}).get("nodeName"),
        exit_code=ended.get("exitCode"),
        container_reason=ended.get("reason", ""),
        termination=ended.get("message", ""),
        started=parse_time(ended.get("startedAt")),
        finished=parse_time(ended.get("finishedAt")),
        disruption=None if disruption is None else disruption.message or disruption.reason,
    )


def parse_deployment(raw: Raw) -> DeploymentView:
    """Project a serving Deployment."""
    meta, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    server: Raw = next((c for c in containers if c.get("name") == names.CONTAINER_SERVER), {})
    live = (
        str(spec.get("replicas")),
        server.get("image", ""),
        *server.get("command", ()),
        *server.get("args", ()),
    )
    return DeploymentView(
        **parse_meta(raw, Kind.DEPLOYMENT),
        generation=_int(meta.get("generation")),
        observed_generation=_int(status.get("observedGeneration")),
        replicas=_int(status.get("replicas")),
        updated=_int(status.get("updatedReplicas")),
        ready=_int(status.get("readyReplicas")),
        available=_int(status.get("availableReplicas")),
        conditions=_conditions(status),
        intent=(meta.get("annotations") or {}).get(names.ANNOTATION_HASH),
        live=live,
    )


def parse_bare(raw: Raw, kind: Kind) -> BareView:
    """Project an object of which only metadata was listed."""
    return BareView(**parse_meta(raw, kind))


def parse_child(raw: Raw, kind: Kind) -> View:
    """Project a child of any kind."""
    match kind:
        case Kind.JOB:
            return parse_job(raw)
        case Kind.POD:
            return parse_pod(raw)
        case Kind.DEPLOYMENT:
            return parse_deployment(raw)
        case _:
            return parse_bare(raw, kind)


_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def slim(raw: Raw) -> dict[str, Any]:
    """Leave out what nothing reads: often most of an object that people apply."""
    meta = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    if _LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != _LAST_APPLIED}
    return {**raw, "metadata": meta}


def parse_time(text: str | None) -> datetime | None:
    """Parse a Kubernetes timestamp; None when absent or malformed."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _conditions(status: Raw) -> tuple[ConditionView, ...]:
    return tuple(
        ConditionView(
            type=c.get("type", ""),
            status=c.get("status", ""),
            reason=c.get("reason", ""),
            message=c.get("message", ""),
            since=parse_time(c.get("lastTransitionTime")),
        )
        for c in status.get("conditions") or ()
    )


def _int(value: object) -> int:
    """Total: labels can hold anything."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError):
        return 0
