"""What is wrong with the output claim: missing, going, without a volume, or not for as many pods.

Pure; part of ``diagnose``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..spec.sources import named_claim
from ..vocabulary.names import LABEL_MANAGED_BY, MANAGED_BY, SERVE, TRAIN
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import APPLY_AGAIN, respec, shortened
from ..vocabulary.times import rfc3339
from .evidence import SLOW, SeenFor, begun, condition, found, is_deleting, last, message_of, name_of, uid_of

_OUTPUT_VOLUME: Final = "kubetune-output"
_WRITABLE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"})
_NOT_SHARED: Final = re.compile(
    r"ReadWriteOnce|MULTI_NODE_MULTI_WRITER|multi[- ]?writer|access ?modes?\b.*(not supported|only)"
    r"|not support.*access ?modes?\b",
    re.IGNORECASE,
)
"""Provisioners refuse ReadWriteMany in their own words: local-path, EBS, GCE PD, Azure disk."""

_TRAIN_ANEW: Final = f"{APPLY_AGAIN}, which trains anew"

_ELSEWHERE: Final = re.compile(
    r"PersistentVolume's node affinity|volume node affinity conflict|no available volume zone"
    r"|ReadWriteOncePod access mode"
)
"""Why the scheduler puts a pod on no node but the one that has the volume, in its words of any version."""

_SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""On a claim whose pod the scheduler has placed, once the volume is made for that node."""


def claim_problem(job: FineTuneJob, claim: Raw, *, stage: str) -> Diagnosis | None:
    """Say why an existing claim cannot hold the output, by its access modes; None when it can.

    Pods of a gang may land on different nodes, and so may replicas of a server. What the stages to come need
    is asked for in ``prepare``, before GPUs are held; ``serve`` needs no more than its replicas, and is asked
    only when one of them ``waits_for_claim``.
    """
    modes = _access_modes(claim)
    if not modes or "ReadWriteMany" in modes:
        return None
    what = f"PersistentVolumeClaim {name_of(claim)} is for one node at a time ({', '.join(modes)})"
    named = named_claim(job) is not None
    other = "name a claim with ReadWriteMany in storage.claimName"
    if stage != SERVE and not _WRITABLE.intersection(modes):
        what = f"PersistentVolumeClaim {name_of(claim)} is for reading only ({', '.join(modes)})"
        remedy = respec(other[0].upper() + other[1:])
        return found(Reason.STORAGE_NOT_SHARED, stage, what, remedy, stalled=True)
    crowd = _crowd(job, stage)
    if not crowd:
        return None
    counts = " and ".join(f"{name} is {count}" for name, count in crowd.items())
    fewer = f"Lower {' and '.join(crowd)} to 1"
    if stage == SERVE:  # the model is on it, and no new one would be made
        remedy = (
            f"{fewer}, or copy the volume to a ReadWriteMany claim and apply a new job that names it with "
        )
        remedy += "storage.claimName"
    elif named:
        remedy = respec(f"{fewer}, or {other}")
    else:
        fewer = respec(fewer) if "training.nodes" in crowd else fewer
        remedy = (
            f"{fewer}, or delete the claim with all that it holds: a new one is made, which can be shared"
        )
    return found(Reason.STORAGE_NOT_SHARED, stage, f"{what}, and {counts}", remedy, stalled=True)


def waits_for_claim(claim: Raw, pods: Sequence[Raw], events: Mapping[str, Sequence[Raw]]) -> bool:
    """Whether a pod cannot run where it is put, or anywhere, since another node has the claim's volume.

    Pods that share a volume for one node often fit on that node, and then nothing is wrong.
    """
    volume = str((claim.get("spec") or {}).get("volumeName") or "")
    return any(
        _ELSEWHERE.search(str(condition(pod, "PodScheduled").get("message", ""))) is not None
        or _is_attached_elsewhere(volume, events.get(name_of(pod), ()))
        for pod in pods
        if not is_deleting(pod)
    )


def _is_attached_elsewhere(volume: str, events: Sequence[Raw]) -> bool:
    newest = last(events, "FailedAttachVolume", "SuccessfulAttachVolume", "Pulling", "Pulled", "Started")
    message = "" if newest is None else message_of(newest)
    return "Multi-Attach" in message and volume in message


def _access_modes(claim: Raw) -> tuple[str, ...]:
    """What the volume of a bound claim can do, which is what counts; else what the claim asks for."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    bound = status.get("accessModes") if status.get("phase") == "Bound" else None
    return tuple(bound or spec.get("accessModes") or ())


def _crowd(job: FineTuneJob, stage: str) -> dict[str, int]:
    """Fields that put several pods to work at a time."""
    serving = job.spec.serving
    counts = {
        "training.nodes": 1 if stage == SERVE else job.spec.trains.nodes,
        "serving.replicas": 1 if stage == TRAIN or serving is None else serving.replicas or 1,
    }
    return {name: count for name, count in counts.items() if count > 1}


def diagnose_claim(
    stage: str, claim: Raw | None, events: Sequence[Raw], pods: Sequence[Raw], seen_for: SeenFor
) -> Diagnosis | None:
    """An output claim that is missing, going, lost, or does not get its volume."""
    if claim is None:
        name = _output_claim(pods)
        if name is None:
            return None
        what = f"PersistentVolumeClaim {name} does not exist in this namespace"
        remedy = f"Create it, or {respec('correct storage.claimName')}"
        if stage == SERVE:
            remedy = f"The model was on it: {_TRAIN_ANEW}"
        return found(Reason.CLAIM_NOT_FOUND, stage, what, remedy)
    where = f"PersistentVolumeClaim {name_of(claim)}"
    if is_deleting(claim):
        ours = ((claim.get("metadata") or {}).get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY
        what = f"{where} is being deleted, and no new pod can use it"
        if stage == SERVE:
            return found(Reason.CLAIM_NOT_FOUND, stage, what, f"The model is on it: {_TRAIN_ANEW}")
        then = "a new, empty one is made" if ours else "create it again"
        return found(Reason.CLAIM_NOT_FOUND, stage, what, f"When the pods that use it are gone, {then}")
    phase = (claim.get("status") or {}).get("phase")
    if phase == "Lost":
        remedy = f"Restore the volume, or delete the claim, {APPLY_AGAIN}"
        return found(Reason.CLAIM_PENDING, stage, f"{where} has lost its volume", remedy)
    if phase == "Bound":
        return None
    failed = last(events, "ProvisioningFailed", "FailedBinding")
    if failed is None or _is_over(failed, events):
        return _slow(stage, claim, events, seen_for)
    return _refused(stage, claim, message_of(failed))


def is_binding(claim: Raw | None) -> bool:
    """Whether the scheduler has placed a pod and waits for this claim's volume."""
    if claim is None or (claim.get("status") or {}).get("phase") == "Bound":
        return False
    return _SELECTED_NODE in ((claim.get("metadata") or {}).get("annotations") or {})


def _refused(stage: str, claim: Raw, message: str) -> Diagnosis:
    """A claim whose volume the provisioner, or whoever looks for one, does not make."""
    spec, where = claim.get("spec") or {}, f"PersistentVolumeClaim {name_of(claim)}"
    storage_class = spec.get("storageClassName")
    if "ReadWriteMany" in (spec.get("accessModes") or ()) and _NOT_SHARED.search(message):
        what = (
            f"{where} needs ReadWriteMany, since several pods use it at a time, and storage class "
            f"{storage_class or '(default)'} refuses it: {shortened(message)}"
        )
        remedy = (
            "Delete job and claim and apply the job again with a class that can be shared, or with one node "
            "and one replica"
        )
        return found(Reason.STORAGE_NOT_SHARED, stage, what, remedy, stalled=True)
    absent = re.search(r'storageclass\.storage\.k8s\.io "([^"]+)" not found', message)
    if absent is not None:
        what = f"{where} names the storage class {absent[1]}, which does not exist"
    elif "no storage class is set" in message:
        what = f"{where} has no storage class, and the cluster has no default one"
    else:
        what = f"{where} gets no volume: {shortened(message)}"
    remedy = "Create the class or a fitting volume, or delete job and claim and apply the job with another "
    return found(Reason.CLAIM_PENDING, stage, what, f"{remedy}storage.storageClassName")


def _is_over(failed: Raw, events: Sequence[Raw]) -> bool:
    """Whether a class that was missing is there now: then somebody waits for its provisioner."""
    newest = last(events, "ProvisioningFailed", "FailedBinding", "ExternalProvisioning", "Provisioning")
    return newest is not failed and (
        "not found" in message_of(failed) or "no storage class" in message_of(failed)
    )


def _slow(stage: str, claim: Raw, events: Sequence[Raw], seen_for: SeenFor) -> Diagnosis | None:
    """A provisioner that was asked and has not answered: nothing else ever says that it does not run."""
    asked = last(events, "ExternalProvisioning")
    if asked is None:
        return None
    since, where = begun(asked), f"PersistentVolumeClaim {name_of(claim)}"
    if since is None or seen_for(uid_of(claim), "asked for") < SLOW:
        return None
    named = re.search(r"provisioner '([^']+)'", message_of(asked))
    provisioner = named[1] if named else "of its storage class"
    if last(events, "Provisioning") is not None:
        what = f"Provisioner {provisioner} makes the volume of {where} since {rfc3339(since)}"
        return found(Reason.CLAIM_PENDING, stage, what, "Look at its log if it lasts")
    what = f"{where} waits since {rfc3339(since)} for provisioner {provisioner}, which does not answer"
    remedy = "Start it, or delete job and claim and apply the job with another storage.storageClassName"
    return found(Reason.CLAIM_PENDING, stage, what, remedy)


def _output_claim(pods: Sequence[Raw]) -> str | None:
    """The claim that the pods ask for; None when nothing asks."""
    for pod in pods:
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            claim = volume.get("persistentVolumeClaim")
            if claim and volume.get("name") == _OUTPUT_VOLUME:
                return str(claim.get("claimName"))
    return None
