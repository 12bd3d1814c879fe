"""Why something waits: pods that do not start, claims that do not bind, pods that are refused, in sentences.

Pure. Called while a Job has fewer ready pods than it wants or a Deployment is not available; what it finds
heals by itself when the cause is removed, and says what to do. Claims and scheduling are in ``scheduling``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .constants import Reason
from .names import CONTAINER_SERVER
from .observed import Diagnosis
from .scheduling import diagnose_claim, diagnose_unscheduled
from .views import Raw
from .wording import sentences, shortened

_PULL: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
    | {"RegistryUnavailable"}
)
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


def diagnose(
    *,
    stage: str,
    pods: Sequence[Raw],
    events: Mapping[str, Sequence[Raw]],
    claim: Raw | None,
    claim_events: Sequence[Raw],
    job_events: Sequence[Raw],
) -> Diagnosis | None:
    """Find the most telling reason; None when nothing is wrong.

    ``events`` are those of the pods, by pod name; ``claim`` is the output claim or None when it does not
    exist; ``job_events`` are those of the Job or, in the stage ``serve``, of the Deployment's ReplicaSets.
    """
    for pod in pods:
        found = _container(stage, pod, events.get(_name(pod), ()))
        if found is not None:
            return found
    for pod in pods:
        found = _mount(stage, pod, events.get(_name(pod), ()))
        if found is not None:
            return found
    found = diagnose_claim(stage, claim, claim_events, pods)
    if found is not None:
        return found
    for pod in pods:
        found = diagnose_unscheduled(stage, pod)
        if found is not None:
            return found
    return _refused(stage, job_events)


def _container(stage: str, pod: Raw, events: Sequence[Raw]) -> Diagnosis | None:
    """A container that waits for something that is wrong, or ends again and again."""
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _PULL:
            return _image(stage, pod, status, message, events)
        if reason == "CreateContainerConfigError":
            return _configuration(stage, pod, message)
        if reason in ("CreateContainerError", "RunContainerError"):
            text = f"Pod {_name(pod)} cannot start container {status.get('name')}: {shortened(message)}"
            return _found(Reason.CONTAINER_FAILED, stage, text, "Check image, command and podTemplate")
        if stage == "serve" and status.get("name") == CONTAINER_SERVER:
            crashed = _crash(stage, pod, status)
            if crashed is not None:
                return crashed
    return None


def _image(stage: str, pod: Raw, status: Raw, message: str, events: Sequence[Raw]) -> Diagnosis:
    image = status.get("image") or ""
    failed = [e["message"] for e in events if str(e.get("message", "")).startswith("Failed to pull image")]
    told = failed[-1] if failed and ": " not in message.partition("Back-off pulling image")[2] else message
    return _found(
        Reason.IMAGE_PULL_FAILED,
        stage,
        f"Pod {_name(pod)} cannot pull image {image}: {_pull_error(told, image)}",
        "Check the name and tag of the image, its pull secret and the registry",
    )


def _pull_error(message: str, image: str) -> str:
    """The end of the chain of errors, which is the registry's own."""
    text = re.sub(
        r'^.*failed to (?:resolve reference|resolve image|copy|authorize)(?: "[^"]*")?: ', "", message
    )
    text = re.sub(r'^.*(?:failed to pull and unpack image|Back-off pulling image) "[^"]*":? ?', "", text)
    text = text.removeprefix("ErrImagePull: ").replace(f"{image}: ", "")
    return shortened(text) or "the registry's answer is in the pod's Events"


def _configuration(stage: str, pod: Raw, message: str) -> Diagnosis:
    """A Secret, a ConfigMap or one of their keys that the container refers to."""
    where = f"Pod {_name(pod)} cannot start"
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message, re.IGNORECASE)
    if missing is not None:
        return _missing_object(stage, where, kind=missing[1], name=missing[2])
    key = re.search(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/]+/(\S+)", message)
    if key is None:
        return _found(Reason.CONTAINER_FAILED, stage, f"{where}: {shortened(message)}", "Check podTemplate")
    reason = Reason.SECRET_NOT_FOUND if key[2] == "Secret" else Reason.CONFIG_MAP_NOT_FOUND
    return _found(reason, stage, f"{where}: {key[2]} {key[3]} has no key {key[1]}", "Add the key")


def _missing_object(stage: str, where: str, *, kind: str, name: str) -> Diagnosis:
    is_secret = kind.lower() == "secret"
    noun = "Secret" if is_secret else "ConfigMap"
    return _found(
        Reason.SECRET_NOT_FOUND if is_secret else Reason.CONFIG_MAP_NOT_FOUND,
        stage,
        f"{where}: {noun} {name} does not exist in this namespace",
        "Create it, or correct its name",
    )


def _crash(stage: str, pod: Raw, status: Raw) -> Diagnosis | None:
    """A server that ends: by the end of its log, which the kubelet keeps as the message."""
    states = (status.get("state") or {}, status.get("lastState") or {})
    ended = next((state["terminated"] for state in states if state.get("terminated")), None)
    if ended is None or status.get("ready"):
        return None
    again = f" (restarted {status['restartCount']} times)" if status.get("restartCount", 0) > 1 else ""
    if ended.get("reason") == "OOMKilled":
        return _found(
            Reason.OUT_OF_MEMORY,
            stage,
            f"The server in pod {_name(pod)} used more memory than its limit{again}",
            "Raise the memory in serving.resources, or lower max-model-len or max-num-seqs in engineArgs",
        )
    log = [line.strip() for line in str(ended.get("message", "")).splitlines() if line.strip()]
    tail = f"; its log ends with: {shortened(' | '.join(log[-3:]), limit=600)}" if log else ""
    return _found(
        Reason.CONTAINER_FAILED,
        stage,
        f"The server in pod {_name(pod)} ended with exit code {ended.get('exitCode')}{again}{tail}",
        "Check serving.engineArgs and serving.image",
    )


def _mount(stage: str, pod: Raw, events: Sequence[Raw]) -> Diagnosis | None:
    """A volume that cannot be attached or mounted, as long as no container has started."""
    statuses = list(_statuses(pod))
    if not statuses or any(_waiting(status) not in _STARTING for status in statuses):
        return None
    failed = [e for e in events if e.get("reason") in ("FailedMount", "FailedAttachVolume")]
    if not failed:
        return None
    where, message = f"Pod {_name(pod)} cannot start", str(failed[-1].get("message", ""))
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message, re.IGNORECASE)
    if missing is not None:
        return _missing_object(stage, where, kind=missing[1], name=missing[2])
    if "Multi-Attach" in message:
        return _found(
            Reason.VOLUME_MOUNT_FAILED,
            stage,
            f"{where}: {shortened(message)}",
            "It can be used on one node at a time: wait for the other pod, or use ReadWriteMany storage",
        )
    volume = re.search(r'volume "([^"]+)" ?: (.*)', message, re.DOTALL)
    what = f"volume {volume[1]} cannot be mounted: {shortened(volume[2])}" if volume else shortened(message)
    return _found(Reason.VOLUME_MOUNT_FAILED, stage, f"{where}: {what}", "Check the volume and its storage")


def _refused(stage: str, events: Sequence[Raw]) -> Diagnosis | None:
    """Pods that the API server refuses to create, by the newest Event of what makes them."""
    made = [e for e in events if e.get("reason") in ("FailedCreate", "SuccessfulCreate")]
    if not made or made[-1].get("reason") != "FailedCreate":
        return None
    message = re.sub(r'^Error creating: (pods "[^"]*" is forbidden: )?', "", str(made[-1].get("message", "")))
    if "exceeded quota" in message:
        return _found(
            Reason.QUOTA_EXCEEDED,
            stage,
            f"A quota of this namespace leaves no room for the pod: {shortened(message, limit=400)}",
            "Free resources, raise the quota or ask for less",
        )
    return _found(
        Reason.POD_REJECTED,
        stage,
        f"The pod is refused: {shortened(message, limit=400)}",
        "Change the policy or the podTemplate",
    )


def _found(reason: Reason, stage: str, what: str, remedy: str) -> Diagnosis:
    return Diagnosis(reason=reason, message=sentences(what, remedy), stage=stage)


def _statuses(pod: Raw) -> Iterable[Raw]:
    status = pod.get("status") or {}
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _waiting(status: Raw) -> str:
    """Why a container waits; "Running" when it does not."""
    waiting = (status.get("state") or {}).get("waiting")
    return "Running" if waiting is None else str(waiting.get("reason", ""))


def _name(pod: Raw) -> str:
    return str((pod.get("metadata") or {}).get("name", ""))
