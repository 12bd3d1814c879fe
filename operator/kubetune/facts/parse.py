"""Raw JSON of the API server to projections (``views``).

Pure and total: whatever users put into labels or annotations never raises.
"""

from __future__ import annotations

from typing import Any, Final

from ..vocabulary import names
from ..vocabulary.times import parse_time
from .views import BareView, ConditionView, DeploymentView, JobView, Kind, PodView, Raw, View


def parse_meta(raw: Raw, kind: Kind) -> dict[str, Any]:
    """Arguments of Meta from an object's metadata."""
    meta = raw.get("metadata") or {}
    labels = meta.get("labels") or {}
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    return {
        "kind": kind,
        "namespace": meta.get("namespace", ""),
        "name": meta.get("name", ""),
        "uid": meta.get("uid", ""),
        "resource_version": meta.get("resourceVersion", ""),
        "owner_uid": owner.get("uid") if owner else None,
        "finetunejob": labels.get(names.LABEL_JOB),
        "deleting": "deletionTimestamp" in meta,
        "managed": labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY,
    }


def parse_job(raw: Raw) -> JobView:
    """Project a batch/v1 Job."""
    status, meta = raw.get("status") or {}, parse_meta(raw, Kind.JOB)
    stage, number = names.run_of(meta["name"]) or (None, 0)
    spec = raw.get("spec") or {}
    return JobView(
        **meta,
        stage=stage,
        number=number,
        created=parse_time((raw.get("metadata") or {}).get("creationTimestamp")),
        started=parse_time(status.get("startTime")),
        completed=parse_time(status.get("completionTime")),
        completions=_int(spec.get("completions")),
        suspended=bool(spec.get("suspend")) or spec.get("parallelism") == 0,
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
    container: Raw = next(
        (c for c in status.get("containerStatuses") or () if c.get("name") == names.CONTAINER_TRAINER), {}
    )
    ended = (container.get("state") or {}).get("terminated") or {}
    index = (meta.get("annotations") or {}).get(names.POD_INDEX)
    disruption = next(
        (c for c in _conditions(status) if c.type == "DisruptionTarget" and c.status == "True"), None
    )
    return PodView(
        **parse_meta(raw, Kind.POD),
        stage=_stage(raw.get("spec") or {}),
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
        released="deletionTimestamp" in meta and _TRACKING not in (meta.get("finalizers") or ()),
    )


_TRACKING: Final = "batch.kubernetes.io/job-tracking"
"""Finalizer of a pod that the Job controller has yet to count."""


def _stage(spec: Raw) -> str | None:
    """What a pod does, by its containers: unlike labels they cannot be edited."""
    containers = {c.get("name"): c for c in spec.get("containers") or ()}
    if names.CONTAINER_TRAINER in containers:
        return next(iter(containers[names.CONTAINER_TRAINER].get("args") or ()), None)
    return names.SERVE if names.CONTAINER_SERVER in containers else None


def live_fields(spec: Raw) -> tuple[str, ...]:
    """What people edit by hand in a Deployment's spec: replicas, image, command and arguments."""
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    server: Raw = next((c for c in containers if c.get("name") == names.CONTAINER_SERVER), {})
    return (
        str(spec.get("replicas")),
        server.get("image", ""),
        *(server.get("command") or ()),
        *(server.get("args") or ()),
    )


def parse_deployment(raw: Raw) -> DeploymentView:
    """Project a serving Deployment."""
    meta, spec, status = raw.get("metadata") or {}, raw.get("spec") or {}, raw.get("status") or {}
    return DeploymentView(
        **parse_meta(raw, Kind.DEPLOYMENT),
        generation=_int(meta.get("generation")),
        observed_generation=_int(status.get("observedGeneration")),
        replicas=_int(status.get("replicas")),
        updated=_int(status.get("updatedReplicas")),
        ready=_int(status.get("readyReplicas")),
        available=_int(status.get("availableReplicas")),
        conditions=_conditions(status),
        intent=(meta.get("annotations") or {}).get(names.ANNOTATION_INTENT),
        applied=(meta.get("annotations") or {}).get(names.ANNOTATION_LIVE),
        live=live_fields(spec),
    )


def parse_bare(raw: Raw, kind: Kind) -> BareView:
    """Project an object of which only metadata was listed."""
    created = parse_time((raw.get("metadata") or {}).get("creationTimestamp"))
    return BareView(**parse_meta(raw, kind), created=created)


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
