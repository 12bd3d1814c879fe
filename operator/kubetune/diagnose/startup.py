"""What keeps a pod that has a node from starting its containers: volumes, network, runtime.

Pure; part of ``diagnose``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..children.api_keys import VOLUME
from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.names import SERVE
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import respec, shortened, template_of
from .containers import missing_object
from .evidence import PATIENCE, SeenFor, found, is_starting, last, message_of, name_of, uid_of

_VOLUME: Final = ("FailedMount", "FailedAttachVolume")
_SANDBOX: Final = "FailedCreatePodSandBox"
_WENT_ON: Final = ("SuccessfulAttachVolume", "Pulling", "Pulled", "Created", "Started")
"""After one of these an earlier failure is over."""

_SUMMARY: Final = "Unable to attach or mount volumes"
"""The kubelet's own timeout, which says less than the Events before it."""


def diagnose_startup(
    stage: str, pod: Raw, events: Sequence[Raw], peers: Sequence[str], seen_for: SeenFor
) -> Diagnosis | None:
    """A volume that cannot be attached or mounted, or a sandbox that cannot be made."""
    if not is_starting(pod):
        return None
    newest = last(events, *_VOLUME, _SANDBOX, *_WENT_ON)
    if newest is None or newest.get("reason") in _WENT_ON:
        return None
    if newest.get("reason") == _SANDBOX:
        return _sandbox(stage, pod, newest) if seen_for(uid_of(pod), _SANDBOX) >= PATIENCE else None
    failed = [event for event in events if event.get("reason") in _VOLUME]
    telling = [event for event in failed if not message_of(event).startswith(_SUMMARY)]
    return _volume(stage, pod, message_of((telling or failed)[-1]), peers)


def _volume(stage: str, pod: Raw, message: str, peers: Sequence[str]) -> Diagnosis:
    where = f"Pod {name_of(pod)} cannot start"
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message, re.IGNORECASE)
    if missing is not None:
        field = "serving.apiKey.secretName" if f'"{VOLUME}"' in message else "its name"
        return missing_object(stage, where, kind=missing[1], name=missing[2], field=field)
    if "Multi-Attach" in message:
        return _attached_elsewhere(stage, f"{where}: {shortened(message)}", message, peers)
    volume = re.search(r'volume "([^"]+)" ?: (.*)', message, re.DOTALL)
    what = f"volume {volume[1]} cannot be mounted: {shortened(volume[2])}" if volume else shortened(message)
    return found(Reason.VOLUME_MOUNT_FAILED, stage, f"{where}: {what}", "Check the volume and its storage")


def _attached_elsewhere(stage: str, what: str, message: str, peers: Sequence[str]) -> Diagnosis:
    """A volume for one node at a time, that another node has."""
    holders = [peer for peer in peers if peer in message]
    if not holders:
        remedy = "It can be used on one node at a time, and is free when the pod that uses it has ended"
        return found(Reason.VOLUME_MOUNT_FAILED, stage, what, remedy)
    if stage == SERVE:
        remedy = f"Delete pod {holders[0]} to let this one have the volume, or use ReadWriteMany storage"
        return found(Reason.VOLUME_MOUNT_FAILED, stage, what, remedy)
    remedy = respec("Its peer keeps it: use a claim with ReadWriteMany, or set training.nodes to 1")
    return found(Reason.STORAGE_NOT_SHARED, stage, what, remedy, stalled=True)


def _sandbox(stage: str, pod: Raw, event: Raw) -> Diagnosis:
    text = re.sub(r"^Failed to create pod sandbox: (rpc error: code = \w+ desc = )?", "", message_of(event))
    text = re.sub(r' (for )?(sandbox )?"?[0-9a-f]{64}"?', "", text)  # a new one at each try
    node = (pod.get("spec") or {}).get("nodeName") or "its node"
    what = f"Pod {name_of(pod)} cannot start on {node}: {shortened(text)}"
    if "no runtime for" in text:
        change = respec(f"correct runtimeClassName in {template_of(stage)}", stage=stage)
        return found(Reason.CONTAINER_FAILED, stage, what, f"Install the runtime there, or {change}")
    remedy = "Look at that node's network plugin and container runtime"
    return found(Reason.CONTAINER_FAILED, stage, what, remedy)
