"""Raw JSON of the API server to projections (``views``).

Pure and total: neither what users put into labels and annotations nor a field that is null or of another type
raises.
"""

from __future__ import annotations

from typing import Any, Final

from ..vocabulary import names
from ..vocabulary.strangers import plain, plain_lines
from ..vocabulary.times import parse_time
from .managers import owns_replicas
from .views import BareView, ConditionView, DeploymentView, JobView, Kind, PodView, Raw, View

_TRACKING: Final = "batch.kubernetes.io/job-tracking"
"""Finalizer of a pod that the Job controller has yet to count."""


def parse_meta(raw: Raw, kind: Kind) -> dict[str, Any]:
    """Arguments of Meta from an object's metadata."""
    meta = _dict(raw.get("metadata"))
    labels = _dict(meta.get("labels"))
    owner = next((o for o in _dicts(meta.get("ownerReferences")) if o.get("controller")), {})
    return {
        "kind": kind,
        "namespace": _text(meta.get("namespace")),
        "name": _text(meta.get("name")),
        "uid": _text(meta.get("uid")),
        "resource_version": _text(meta.get("resourceVersion")),
        "owner_uid": _text(owner.get("uid")) or None,
        "finetunejob": _text(labels.get(names.LABEL_JOB)) or None,
        "deleting": meta.get("deletionTimestamp") is not None,
        "managed": labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY,
    }


def parse_job(raw: Raw) -> JobView:
    """Project a batch/v1 Job."""
    status, meta = _dict(raw.get("status")), parse_meta(raw, Kind.JOB)
    stage, number = names.run_of(meta["name"]) or (None, 0)
    spec = _dict(raw.get("spec"))
    return JobView(
        **meta,
        stage=stage,
        number=number,
        created=parse_time(_dict(raw.get("metadata")).get("creationTimestamp")),
        started=parse_time(status.get("startTime")),
        completed=parse_time(status.get("completionTime")),
        completions=_int(spec.get("completions")),
        parallelism=_int(spec.get("parallelism", spec.get("completions"))),
        suspended=spec.get("suspend") is True,
        active=_int(status.get("active")),
        ready=_int(status.get("ready")),
        succeeded=_int(status.get("succeeded")),
        failed=_int(status.get("failed")),
        terminating=_int(status.get("terminating")),
        conditions=_conditions(status),
    )


def parse_pod(raw: Raw) -> PodView:
    """Project a trainer pod."""
    meta, spec, status = (_dict(raw.get(part)) for part in ("metadata", "spec", "status"))
    container = next(
        (c for c in _dicts(status.get("containerStatuses")) if c.get("name") == names.CONTAINER_TRAINER), {}
    )
    ended = _dict(_dict(container.get("state")).get("terminated"))
    index = _dict(meta.get("annotations")).get(names.POD_INDEX)
    code = ended.get("exitCode")
    disruption = next(
        (c for c in _conditions(status) if c.type == "DisruptionTarget" and c.status == "True"), None
    )
    return PodView(
        **parse_meta(raw, Kind.POD),
        stage=_stage(spec),
        index=None if index is None else _int(index),
        phase=_text(status.get("phase")),
        reason=plain(_text(status.get("reason"))),
        message=plain(_text(status.get("message"))),
        node=_text(spec.get("nodeName")) or None,
        exit_code=code if isinstance(code, int) else None,
        container_reason=plain(_text(ended.get("reason"))),
        termination=plain_lines(_text(ended.get("message"))),
        started=parse_time(status.get("startTime")),
        finished=parse_time(ended.get("finishedAt")),
        disruption=None if disruption is None else disruption.message or disruption.reason,
        released="deletionTimestamp" in meta and _TRACKING not in _texts(meta.get("finalizers")),
    )


def _stage(spec: Raw) -> str | None:
    """What a pod does, by its containers: unlike labels they cannot be edited."""
    containers = {_text(c.get("name")): c for c in _dicts(spec.get("containers"))}
    if names.CONTAINER_TRAINER in containers:
        return next(iter(_texts(containers[names.CONTAINER_TRAINER].get("args"))), None)
    return names.SERVE if names.CONTAINER_SERVER in containers else None


def live_fields(spec: Raw) -> tuple[str, ...]:
    """What people edit by hand in a Deployment's pods: image, command and arguments."""
    containers = _dicts(_dict(_dict(spec.get("template")).get("spec")).get("containers"))
    server = next((c for c in containers if c.get("name") == names.CONTAINER_SERVER), {})
    return (_text(server.get("image")), *_texts(server.get("command")), *_texts(server.get("args")))


def parse_deployment(raw: Raw) -> DeploymentView:
    """Project the Deployment of a server."""
    meta, spec, status = (_dict(raw.get(part)) for part in ("metadata", "spec", "status"))
    annotations = _dict(meta.get("annotations"))
    return DeploymentView(
        **parse_meta(raw, Kind.DEPLOYMENT),
        generation=_int(meta.get("generation")),
        observed_generation=_int(status.get("observedGeneration")),
        replicas=_int(status.get("replicas")),
        updated=_int(status.get("updatedReplicas")),
        ready=_int(status.get("readyReplicas")),
        available=_int(status.get("availableReplicas")),
        conditions=_conditions(status),
        intent=_text(annotations.get(names.ANNOTATION_INTENT)) or None,
        applied=_text(annotations.get(names.ANNOTATION_LIVE)) or None,
        size=_int(spec.get("replicas", 1)),
        owns_size=owns_replicas(raw),
        live=live_fields(spec),
    )


def parse_bare(raw: Raw, kind: Kind) -> BareView:
    """Project an object of which only metadata was listed."""
    created = parse_time(_dict(raw.get("metadata")).get("creationTimestamp"))
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


def condition_in(status: Raw, type_: str) -> Raw:
    """The condition of that type in an object's status; empty when there is none."""
    return next((c for c in status.get("conditions") or () if c.get("type") == type_), {})


def _conditions(status: Raw) -> tuple[ConditionView, ...]:
    return tuple(
        ConditionView(
            type=_text(c.get("type")),
            status=_text(c.get("status")),
            reason=plain(_text(c.get("reason"))),
            message=plain(_text(c.get("message"))),
            since=parse_time(c.get("lastTransitionTime")),
        )
        for c in _dicts(status.get("conditions"))
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _int(value: object) -> int:
    """Total: labels can hold anything."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0
