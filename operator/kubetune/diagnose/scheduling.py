"""Why a pod finds no node, or loses it, from what scheduler and node controller say.

Pure; part of ``diagnose``.
"""

from __future__ import annotations

import re
from datetime import timedelta

from ..facts.observed import Diagnosis
from ..facts.views import JobView, Raw
from ..vocabulary.names import SERVE
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import respec, shortened, template_of
from ..vocabulary.times import parse_time, rfc3339
from .evidence import PATIENCE, SLOW, SeenFor, condition, created, found, is_deleting, name_of, uid_of


def diagnose_unscheduled(
    stage: str, pod: Raw, seen_for: SeenFor, *, binding: bool, trains: bool
) -> Diagnosis | None:
    """A pod for which no scheduler finds a node; ``binding``: one did, and waits for the output volume.

    ``trains`` is False of a job without spec.training, which says how much prepare asks for.
    """
    scheduled = condition(pod, "PodScheduled")
    if not scheduled:
        return None if binding else _unseen(stage, pod, seen_for)
    if scheduled.get("status") != "False":
        return None
    name = name_of(pod)
    message = str(scheduled.get("message", "")).partition(" preemption:")[0].removesuffix(". not found")
    match scheduled.get("reason"):
        case "Unschedulable":
            return _unschedulable(stage, pod, message, is_fixed=not trains and stage != SERVE)
        case "SchedulingGated":
            what = f"Pod {name} waits for a scheduling gate"
            return found(Reason.UNSCHEDULABLE, stage, what, "Its owner removes it")
        case "SchedulerError" if seen_for(uid_of(pod), "SchedulerError") >= PATIENCE:
            what = f"The scheduler fails to place pod {name}: {shortened(message)}"
            if "VolumeBinding" in message:
                remedy = "Look at the Events of the claims that the pod uses, and at their provisioner"
                return found(Reason.CLAIM_PENDING, stage, what, remedy)
            remedy = f"It tries again by itself; its log says more, and so may {template_of(stage)}"
            return found(Reason.UNSCHEDULABLE, stage, what, remedy)
        case _:
            return None


def diagnose_idle(stage: str, job: JobView, seen_for: SeenFor) -> Diagnosis | None:
    """A Job whose pods nobody makes."""
    if job.condition("Suspended") is not None:
        what = f"Job {job.name} is suspended, by a queue or by somebody"
        return found(Reason.UNSCHEDULABLE, stage, what, "It starts when whoever did that takes it back")
    if job.started is not None or job.created is None or seen_for(job.uid, "idle") < SLOW:
        return None
    what = f"Nothing has taken up Job {job.name} since {rfc3339(job.created)}"
    return found(Reason.UNSCHEDULABLE, stage, what, "See whether kube-controller-manager runs")


def diagnose_lost(stage: str, pod: Raw, seen_for: SeenFor) -> Diagnosis | None:
    """A pod whose node is silent: its end is not confirmed, or the node controller took it off the ready."""
    name, node = name_of(pod), (pod.get("spec") or {}).get("nodeName")
    if node is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return None
    remedy = (
        f"Bring {node} back; if it is gone for good, delete its Node object or give it the taint "
        "node.kubernetes.io/out-of-service, and its pods go with it"
    )
    if is_deleting(pod):
        due = parse_time((pod.get("metadata") or {}).get("deletionTimestamp"))  # its grace period included
        grace = timedelta(seconds=pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        if stage == SERVE or due is None or seen_for(uid_of(pod), "deleted") < grace + PATIENCE:
            return None  # a Deployment goes on without it
        what = f"Pod {name} should have ended at {rfc3339(due)}, which node {node} does not confirm"
        return found(Reason.NODE_LOST, stage, f"{what}; no other pod may write to its run before", remedy)
    ready = condition(pod, "Ready")
    # The kubelet gives a reason; the node controller, which has not heard from it, gives none.
    silent = ready.get("status") == "False" and not ready.get("reason")
    if not silent or condition(pod, "ContainersReady").get("status") != "True":
        return None
    what = f"Node {node} of pod {name} does not answer any more"
    return found(Reason.NODE_LOST, stage, what, f"{remedy}; after some minutes Kubernetes ends them itself")


def _unseen(stage: str, pod: Raw, seen_for: SeenFor) -> Diagnosis | None:
    """A pod that no scheduler has decided on: a name that nobody answers to, or one that is down."""
    spec, since = pod.get("spec") or {}, created(pod)
    if spec.get("nodeName") or (pod.get("status") or {}).get("phase") != "Pending":
        return None
    if since is None or seen_for(uid_of(pod), "undecided") < SLOW:
        return None
    scheduler = spec.get("schedulerName") or "default-scheduler"
    what = f"No scheduler has decided on pod {name_of(pod)} since {rfc3339(since)}; it asks for {scheduler}"
    if scheduler == "default-scheduler":
        return found(Reason.UNSCHEDULABLE, stage, what, "See whether kube-scheduler runs")
    change = respec(f"correct schedulerName in {template_of(stage)}", stage=stage)
    return found(Reason.UNSCHEDULABLE, stage, what, f"Start that scheduler, or {change}")


def _unschedulable(stage: str, pod: Raw, message: str, *, is_fixed: bool) -> Diagnosis:
    name, block = name_of(pod), "serving" if stage == SERVE else "training"
    claim = re.search(r'persistentvolumeclaim "([^"]+)" (not found|is being deleted)', message)
    if claim is not None:
        state = "is being deleted" if "deleted" in claim[2] else "does not exist in this namespace"
        what = f"PersistentVolumeClaim {claim[1]}, which pod {name} uses, {state}"
        remedy = "Create it again when it is gone" if "deleted" in claim[2] else "Create it"
        correct = respec("correct its name in the spec", stage=stage)
        return found(Reason.CLAIM_NOT_FOUND, stage, what, f"{remedy}, or {correct}")
    what = f"Pod {name} finds no node: {_reasons(message)}"
    lacking = re.findall(r"Insufficient (\S+?)[,.]?(?:\s|$)", message)
    devices = [resource for resource in lacking if "/" in resource]
    if devices:
        field = "serving.gpus" if stage == SERVE else "training.gpusPerNode"
        amount = _requested(pod, devices[0])
        what = f"No node has {amount} free {devices[0]} for pod {name}: {_reasons(message)}"
        change = respec(f"lower {field}", stage=stage)
        return found(Reason.UNSCHEDULABLE, stage, what, f"Free GPUs, add nodes, or {change}")
    if lacking:
        needs = ", ".join(f"{_requested(pod, resource)} {resource}" for resource in dict.fromkeys(lacking))
        what = f"No node has {needs} free for pod {name}: {_reasons(message)}"
        if is_fixed:
            return found(Reason.UNSCHEDULABLE, stage, what, "Free some, or add nodes")
        change = respec(f"lower {block}.resources", stage=stage)
        return found(Reason.UNSCHEDULABLE, stage, what, f"Free some, add nodes, or {change}")
    if "unbound immediate PersistentVolumeClaims" in message or "persistent volumes to bind" in message:
        return found(Reason.CLAIM_PENDING, stage, what, "Look at the Events of the claims that the pod uses")
    change = respec(f"adapt tolerations, nodeSelector or affinity in {template_of(stage)}", stage=stage)
    return found(Reason.UNSCHEDULABLE, stage, what, f"Add nodes, or {change}")


def _reasons(message: str) -> str:
    """The scheduler's counts, which name every kind of node that was tried."""
    return shortened(message.replace("nodes are available: ", "nodes fit: "))


def _requested(pod: Raw, resource: str) -> str:
    containers = (pod.get("spec") or {}).get("containers") or ()
    amounts = [(c.get("resources") or {}).get("requests", {}).get(resource) for c in containers]
    return next((str(amount) for amount in amounts if amount is not None), "enough")
