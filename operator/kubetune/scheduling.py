"""Why a pod finds no node or a claim no volume, from what scheduler and provisioner say.

Pure; part of ``diagnose``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .constants import Reason
from .observed import Diagnosis
from .views import Raw
from .wording import sentences, shortened

_OUTPUT_VOLUME: Final = "kubetune-output"
_NOT_SHARED: Final = re.compile(
    r"ReadWriteOnce|MULTI_NODE_MULTI_WRITER|multi[- ]?writer|access ?modes?\b.*(not supported|only)"
    r"|not support.*access ?modes?\b",
    re.IGNORECASE,
)
"""Provisioners refuse ReadWriteMany in their own words: local-path, EBS, GCE PD, Azure disk."""


def diagnose_claim(
    stage: str, claim: Raw | None, events: Sequence[Raw], pods: Sequence[Raw]
) -> Diagnosis | None:
    """An output claim that is missing, lost, or does not get its volume."""
    if claim is None:
        name = _output_claim(pods)
        if name is None:
            return None
        return _found(
            Reason.CLAIM_NOT_FOUND,
            stage,
            f"PersistentVolumeClaim {name} does not exist in this namespace",
            "Create it, or correct storage.claimName",
        )
    name, spec = str((claim.get("metadata") or {}).get("name", "")), claim.get("spec") or {}
    phase = (claim.get("status") or {}).get("phase")
    if phase == "Lost":
        what = f"PersistentVolumeClaim {name} has lost its volume"
        return _found(Reason.CLAIM_PENDING, stage, what, "Restore the volume, or delete claim and job")
    if phase == "Bound":
        return None
    failed = [e for e in events if e.get("reason") in ("ProvisioningFailed", "FailedBinding")]
    if not failed:
        return None
    message = str(failed[-1].get("message", ""))
    storage_class = spec.get("storageClassName")
    if "ReadWriteMany" in (spec.get("accessModes") or ()) and _NOT_SHARED.search(message):
        return Diagnosis(
            reason=Reason.STORAGE_NOT_SHARED,
            stage=stage,
            stalled=True,
            message=sentences(
                f"PersistentVolumeClaim {name} needs ReadWriteMany, since several pods use it at a time, and "
                f"storage class {storage_class or '(default)'} refuses it: {shortened(message)}",
                "Delete job and claim and apply the job again with a class that can be shared, or with one "
                "node and one replica",
            ),
        )
    absent = re.search(r'storageclass\.storage\.k8s\.io "([^"]+)" not found', message)
    if absent is not None:
        what = f"PersistentVolumeClaim {name} names the storage class {absent[1]}, which does not exist"
    elif "no storage class is set" in message:
        what = f"PersistentVolumeClaim {name} has no storage class, and the cluster has no default one"
    else:
        what = f"PersistentVolumeClaim {name} gets no volume: {shortened(message)}"
    remedy = "Create the class or a fitting volume, or delete job and claim and apply the job with another "
    return _found(Reason.CLAIM_PENDING, stage, what, f"{remedy}storage.storageClassName")


def diagnose_unscheduled(stage: str, pod: Raw) -> Diagnosis | None:
    """A pod for which the scheduler finds no node."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    scheduled = next(
        (c for c in conditions if c.get("type") == "PodScheduled" and c.get("status") == "False"), None
    )
    if scheduled is None:
        return None
    name = str((pod.get("metadata") or {}).get("name", ""))
    if scheduled.get("reason") == "SchedulingGated":
        return _found(
            Reason.UNSCHEDULABLE, stage, f"Pod {name} waits for a scheduling gate", "Its owner removes it"
        )
    if scheduled.get("reason") != "Unschedulable":
        return None
    message = str(scheduled.get("message", "")).partition(" preemption:")[0]
    claim = re.search(r'persistentvolumeclaim "([^"]+)" not found', message)
    if claim is not None:
        what = f"PersistentVolumeClaim {claim[1]}, which pod {name} uses, does not exist in this namespace"
        return _found(Reason.CLAIM_NOT_FOUND, stage, what, "Create it, or correct its name in the spec")
    block = "serving" if stage == "serve" else "training"
    what = f"Pod {name} finds no node: {_reasons(message)}"
    lacking = re.findall(r"Insufficient (\S+?)[,.]?(?:\s|$)", message)
    devices = [resource for resource in lacking if "/" in resource]
    if devices:
        field = "serving.gpus" if stage == "serve" else "training.gpusPerNode"
        amount = _requested(pod, devices[0])
        what = f"No node has {amount} free {devices[0]} for pod {name}: {_reasons(message)}"
        return _found(Reason.UNSCHEDULABLE, stage, what, f"Lower {field}, free GPUs or add nodes")
    if lacking:
        needs = ", ".join(f"{_requested(pod, resource)} {resource}" for resource in dict.fromkeys(lacking))
        what = f"No node has {needs} free for pod {name}: {_reasons(message)}"
        return _found(Reason.UNSCHEDULABLE, stage, what, f"Lower {block}.resources or add nodes")
    if "unbound immediate PersistentVolumeClaims" in message or "persistent volumes to bind" in message:
        return _found(Reason.CLAIM_PENDING, stage, what, "Look at the Events of the claims that the pod uses")
    fix = f"Adapt {block}.podTemplate (tolerations, nodeSelector, affinity) or add nodes"
    return _found(Reason.UNSCHEDULABLE, stage, what, fix)


def _reasons(message: str) -> str:
    """The scheduler's counts, which name every kind of node that was tried."""
    return shortened(message.replace("nodes are available: ", "nodes fit: "))


def _requested(pod: Raw, resource: str) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    amounts = [(c.get("resources") or {}).get("requests", {}).get(resource) for c in containers]
    return next((str(amount) for amount in amounts if amount is not None), "enough")


def _output_claim(pods: Sequence[Raw]) -> str | None:
    """The claim that the pods ask for; None when nothing asks."""
    for pod in pods:
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            claim = volume.get("persistentVolumeClaim")
            if claim and volume.get("name") == _OUTPUT_VOLUME:
                return str(claim.get("claimName"))
    return None


def _found(reason: Reason, stage: str, what: str, remedy: str) -> Diagnosis:
    return Diagnosis(reason=reason, message=sentences(what, remedy), stage=stage)
