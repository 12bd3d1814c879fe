"""What others did to a job's children: owners, labels, finalizers, selectors and sizes, and who it was.

Pure; part of ``diagnose``. Who is told only where managedFields name the one that set the very field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..facts.managers import entries
from ..facts.observed import Diagnosis
from ..facts.views import TERMINAL_PHASES, Kind, Raw
from ..vocabulary.names import FIELD_MANAGER, KIND, LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY, TRAIN
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import sentences
from .evidence import PATIENCE, SLOW, SeenFor, found, is_deleting, name_of, uid_of
from .scheduling import diagnose_lost

_CLUSTERS_OWN: Final = frozenset(
    {"foregroundDeletion", "orphan", "batch.kubernetes.io/job-tracking", "kubernetes.io/pvc-protection"}
)
"""Finalizers that Kubernetes itself removes."""


def story_of(raw: Raw, *, kind: Kind, job: str, uid: str, seen_for: SeenFor) -> str | None:
    """Say what was done to an object under the name of a child; None when nothing is to be told.

    ``job`` and ``uid`` are the FineTuneJob's.
    """
    where, meta = f"{kind} {name_of(raw)}", raw.get("metadata") or {}
    if is_deleting(raw):
        return _held(kind, raw, seen_for)
    owners = [owner for owner in meta.get("ownerReferences") or () if owner.get("controller")]
    owner: Raw = next(iter(owners), {})
    if owner.get("uid") != uid and not _made_by_us(raw):
        return None
    if not owner:
        return sentences(f"{where} has lost its owner reference: put it back, or delete it")
    if owner.get("uid") != uid:
        if (owner.get("kind"), owner.get("name")) != (KIND, job):
            who = _by(raw, "f:metadata", "f:ownerReferences", f'k:{{"uid":"{owner.get("uid")}"}}')
            return sentences(
                f"{where} was given the owner {owner.get('kind')} {owner.get('name')}{who}: give it back its "
                "own, or delete it"
            )
        if seen_for(uid_of(raw), "not collected") < SLOW:
            return None
        what = f"{where} has not been collected since its FineTuneJob went"
        return sentences(f"{what}: see whether kube-controller-manager runs, or delete it")
    labels = meta.get("labels") or {}
    for label, value in ((LABEL_MANAGED_BY, MANAGED_BY), (LABEL_JOB, job)):
        if labels.get(label) != value:
            who = _by(raw, "f:metadata", "f:labels", f"f:{label}")
            lost = f"{where} has lost the label {label}={value}{who}"
            return sentences(f"{lost}: put it back; until then changes of it are seen late")
    return None


def selector_story(service: Raw, wanted: Mapping[str, Any]) -> str | None:
    """Say that a Service selects other pods than it was made for."""
    selector = (service.get("spec") or {}).get("selector") or {}
    changed = sorted(key for key in {*selector, *wanted} if selector.get(key) != wanted.get(key))
    if not changed:
        return None
    who = next(filter(None, (_by(service, "f:spec", "f:selector", f"f:{key}") for key in changed)), "")
    what = f"The selector of Service {name_of(service)} was changed{who} ({', '.join(changed)})"
    return sentences(f"{what}, so it leads to other pods or none: delete the Service, and it is made again")


def diagnose_held(
    stage: str, raw: Raw, pods: Sequence[Raw], seen_for: SeenFor, *, kind: Kind
) -> Diagnosis | None:
    """A child that is deleted and stays: for pods that do not end, or for a finalizer."""
    lost = [diagnose_lost(stage, pod, seen_for) for pod in pods]
    told = [_held(Kind.POD, pod, seen_for) for pod in pods if _is_over(pod)] + [_held(kind, raw, seen_for)]
    for finding in lost:
        if finding is not None:
            return finding
    message = next(filter(None, told), None)
    return None if message is None else Diagnosis(reason=Reason.CHILD_CHANGED, stage=stage, message=message)


def diagnose_resized(stage: str, job: Raw, *, wanted: int) -> Diagnosis | None:
    """A Job that somebody made smaller or larger than its gang."""
    spec = job.get("spec") or {}
    for name in ("completions", "parallelism"):
        value = spec.get(name, wanted)
        if value == wanted or (name == "parallelism" and value > wanted):
            continue
        who = _by(job, "f:spec", f"f:{name}")
        what = f"spec.{name} of Job {name_of(job)} was set from {wanted} to {value}{who}"
        remedy = "Set it back, or delete the Job: the next one goes on from what is on the volume"
        return found(Reason.CHILD_CHANGED, stage, what, remedy)
    return None


def stranger_story(pod: Raw, seen_for: SeenFor) -> str | None:
    """Say why a pod that is waited for does not go."""
    lost = diagnose_lost(TRAIN, pod, seen_for)
    return _held(Kind.POD, pod, seen_for) if lost is None else lost.message


def _held(kind: Kind, raw: Raw, seen_for: SeenFor) -> str | None:
    """A finalizer that keeps an object which is deleted."""
    if not is_deleting(raw):
        return None
    finalizers = [
        name for name in (raw.get("metadata") or {}).get("finalizers") or () if name not in _CLUSTERS_OWN
    ]
    if seen_for(uid_of(raw), "held") < PATIENCE or not finalizers:
        return None
    who = _by(raw, "f:metadata", "f:finalizers", f'v:"{finalizers[0]}"')
    what = f"{kind} {name_of(raw)} is deleted, and kept by the finalizer {finalizers[0]}"
    return sentences(f"{what}{', set' if who else ''}{who}: whoever set it has to remove it")


def _is_over(pod: Raw) -> bool:
    return (pod.get("status") or {}).get("phase") in TERMINAL_PHASES


def _made_by_us(raw: Raw) -> bool:
    return any(entry.get("manager") == FIELD_MANAGER for entry in entries(raw))


def _by(raw: Raw, *path: str) -> str:
    """By whom a field was set, as the end of a phrase; empty when nobody but us is found."""
    for entry in entries(raw):
        fields: Any = entry.get("fieldsV1") or {}
        for part in path:
            fields = fields.get(part) if isinstance(fields, Mapping) else None
        if fields is not None and entry.get("manager") not in (None, FIELD_MANAGER):
            return f" by {entry['manager']}"
    return ""
