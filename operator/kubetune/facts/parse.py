"""Raw JSON of the API server to projections (``views``).

Pure and total: neither what users put into labels and annotations nor a field that is null or of another type
raises.
"""

from __future__ import annotations

from typing import Any, Final

from ..vocabulary import names
from ..vocabulary.json_values import dict_of, dicts_of, int_of, text_of, texts_of
from ..vocabulary.strangers import plain, plain_lines
from ..vocabulary.times import parse_time
from .managers import owns_replicas
from .views import BareView, ConditionView, DeploymentView, JobView, Kind, PodView, Raw, View

_TRACKING: Final = "batch.kubernetes.io/job-tracking"
"""Finalizer of a pod that the Job controller has yet to count."""


def parse_meta(raw: Raw, kind: Kind) -> dict[str, Any]:
    """Arguments of Meta from an object's metadata."""
    meta = dict_of(raw.get("metadata"))
    labels = dict_of(meta.get("labels"))
    owner = next((o for o in dicts_of(meta.get("ownerReferences")) if o.get("controller")), {})
    return {
        "kind": kind,
        "namespace": text_of(meta.get("namespace")),
        "name": text_of(meta.get("name")),
        "uid": text_of(meta.get("uid")),
        "resource_version": text_of(meta.get("resourceVersion")),
        "owner_uid": text_of(owner.get("uid")) or None,
        "finetunejob": text_of(labels.get(names.LABEL_JOB)) or None,
        "deleting": meta.get("deletionTimestamp") is not None,
        "managed": labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY,
    }


def parse_job(raw: Raw) -> JobView:
    """Project a batch/v1 Job."""
    status, meta = dict_of(raw.get("status")), parse_meta(raw, Kind.JOB)
    stage, number = names.run_of(meta["name"]) or (None, 0)
    spec = dict_of(raw.get("spec"))
    return JobView(
        **meta,
        stage=stage,
        number=number,
        created=parse_time(dict_of(raw.get("metadata")).get("creationTimestamp")),
        started=parse_time(status.get("startTime")),
        completed=parse_time(status.get("completionTime")),
        completions=int_of(spec.get("completions")),
        parallelism=int_of(spec.get("parallelism", spec.get("completions"))),
        suspended=spec.get("suspend") is True,
        active=int_of(status.get("active")),
        ready=int_of(status.get("ready")),
        succeeded=int_of(status.get("succeeded")),
        failed=int_of(status.get("failed")),
        terminating=int_of(status.get("terminating")),
        conditions=_conditions(status),
    )


def parse_pod(raw: Raw) -> PodView:
    """Project a trainer pod."""
    meta, spec, status = (dict_of(raw.get(part)) for part in ("metadata", "spec", "status"))
    container = next(
        (c for c in dicts_of(status.get("containerStatuses")) if c.get("name") == names.CONTAINER_TRAINER), {}
    )
    ended = dict_of(dict_of(container.get("state")).get("terminated"))
    index = dict_of(meta.get("annotations")).get(names.POD_INDEX)
    code = ended.get("exitCode")
    disruption = next(
        (c for c in _conditions(status) if c.type == "DisruptionTarget" and c.status == "True"), None
    )
    return PodView(
        **parse_meta(raw, Kind.POD),
        stage=_stage(spec),
        index=None if index is None else int_of(index),
        phase=text_of(status.get("phase")),
        reason=plain(text_of(status.get("reason"))),
        message=plain(text_of(status.get("message"))),
        node=text_of(spec.get("nodeName")) or None,
        exit_code=code if isinstance(code, int) else None,
        container_reason=plain(text_of(ended.get("reason"))),
        termination=plain_lines(text_of(ended.get("message"))),
        started=parse_time(status.get("startTime")),
        finished=parse_time(ended.get("finishedAt")),
        disruption=None if disruption is None else disruption.message or disruption.reason,
        released="deletionTimestamp" in meta and _TRACKING not in texts_of(meta.get("finalizers")),
    )


def _stage(spec: Raw) -> str | None:
    """What a pod does, by its containers: unlike labels they cannot be edited."""
    containers = {text_of(c.get("name")): c for c in dicts_of(spec.get("containers"))}
    if names.CONTAINER_TRAINER in containers:
        return next(iter(texts_of(containers[names.CONTAINER_TRAINER].get("args"))), None)
    return names.SERVE if names.CONTAINER_SERVER in containers else None


def live_fields(spec: Raw) -> tuple[str, ...]:
    """What people edit by hand in a Deployment's pods: image, command and arguments."""
    containers = dicts_of(dict_of(dict_of(spec.get("template")).get("spec")).get("containers"))
    server = next((c for c in containers if c.get("name") == names.CONTAINER_SERVER), {})
    return (text_of(server.get("image")), *texts_of(server.get("command")), *texts_of(server.get("args")))


def parse_deployment(raw: Raw) -> DeploymentView:
    """Project the Deployment of a server."""
    meta, spec, status = (dict_of(raw.get(part)) for part in ("metadata", "spec", "status"))
    annotations = dict_of(meta.get("annotations"))
    return DeploymentView(
        **parse_meta(raw, Kind.DEPLOYMENT),
        generation=int_of(meta.get("generation")),
        observed_generation=int_of(status.get("observedGeneration")),
        replicas=int_of(status.get("replicas")),
        updated=int_of(status.get("updatedReplicas")),
        ready=int_of(status.get("readyReplicas")),
        available=int_of(status.get("availableReplicas")),
        conditions=_conditions(status),
        intent=text_of(annotations.get(names.ANNOTATION_INTENT)) or None,
        applied=text_of(annotations.get(names.ANNOTATION_LIVE)) or None,
        size=int_of(spec.get("replicas", 1)),
        owns_size=owns_replicas(raw),
        live=live_fields(spec),
    )


def parse_bare(raw: Raw, kind: Kind) -> BareView:
    """Project an object of which only metadata was listed."""
    created = parse_time(dict_of(raw.get("metadata")).get("creationTimestamp"))
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
            type=text_of(c.get("type")),
            status=text_of(c.get("status")),
            reason=plain(text_of(c.get("reason"))),
            message=plain(text_of(c.get("message"))),
            since=parse_time(c.get("lastTransitionTime")),
        )
        for c in dicts_of(status.get("conditions"))
    )
