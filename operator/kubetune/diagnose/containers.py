"""Containers that do not start, end again and again, or do not answer. Pure; part of ``diagnose``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.names import CONTAINER_SERVER, CONTAINER_TRAINER, SERVE
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import more_room, respec, shortened, template_of
from ..vocabulary.times import parse_time, rfc3339
from .evidence import PATIENCE, SeenFor, condition, found, latest, message_of, name_of, statuses, uid_of
from .images import PULL_ERRORS, diagnose_pull

_REFUSED: Final = ("curl: (7)", "Connection refused", "connection refused")
_TOO_SLOW: Final = ("curl: (28)", "timed out", "deadline exceeded", "Timeout")


def diagnose_container(stage: str, pod: Raw, events: Sequence[Raw]) -> Diagnosis | None:
    """A container that waits for something that is wrong, or ends again and again."""
    for status in statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in PULL_ERRORS:
            return diagnose_pull(stage, pod, status, events)
        if reason == "CreateContainerConfigError":
            return _configuration(stage, pod, message)
        if reason in ("CreateContainerError", "RunContainerError"):
            text = f"Pod {name_of(pod)} cannot start container {status.get('name')}: {shortened(message)}"
            return found(Reason.CONTAINER_FAILED, stage, text, "Check image, command and podTemplate")
        if stage == SERVE and status.get("name") == CONTAINER_SERVER:
            crashed = _crash(stage, pod, status)
            if crashed is not None:
                return crashed
    return None


def diagnose_evicted(pods: Sequence[Raw]) -> Diagnosis | None:
    """A server that took more of its node than it may; the next one, which is made alike, will too."""
    newest = max(pods, key=lambda pod: str((pod.get("metadata") or {}).get("creationTimestamp")), default={})
    for pod in pods:
        status = pod.get("status") or {}
        own = status.get("reason") == "Evicted" and not condition(pod, "DisruptionTarget")
        if not own or _owners(pod) != _owners(newest):
            continue
        said = str(status.get("message", ""))
        what = f"Pod {name_of(pod)} was evicted: {shortened(said)}"
        remedy = more_room(said) or "Ask for what it needs in serving.resources"
        return found(Reason.CONTAINER_FAILED, SERVE, what, remedy)
    return None


def diagnose_outlived(stage: str, pod: Raw, seen_for: SeenFor) -> Diagnosis | None:
    """An ordinary container that somebody injected, and that does not end with the trainer.

    Native sidecars are ended by the kubelet; of the others Kubernetes only says that the pod runs.
    """
    beside = (pod.get("status") or {}).get("containerStatuses") or ()
    over = next(
        ((s.get("state") or {}).get("terminated") for s in beside if s.get("name") == CONTAINER_TRAINER), None
    )
    if not over or seen_for(uid_of(pod), "outlived") < PATIENCE:
        return None
    left = next((s.get("name") for s in beside if (s.get("state") or {}).get("running") is not None), None)
    if left is None:
        return None
    what = f"Pod {name_of(pod)} has ended its work (exit code {over.get('exitCode')}), but container {left} "
    off = f"Turn its injection off with labels or annotations in {template_of(stage)}"
    remedy = respec(f"{off}, or make it a native sidecar", stage=stage)
    return found(Reason.CONTAINER_FAILED, stage, f"{what}keeps it from ending", remedy)


def diagnose_probe(pod: Raw, events: Sequence[Raw], seen_for: SeenFor) -> Diagnosis | None:
    """A server that runs and is not ready, by the newest failure of the probe that it has to pass."""
    server: Raw = next((s for s in statuses(pod) if s.get("name") == CONTAINER_SERVER), {})
    since = parse_time(((server.get("state") or {}).get("running") or {}).get("startedAt"))
    if since is None or server.get("ready") or seen_for(uid_of(pod), f"loads since {since}") < PATIENCE:
        return None
    probe = "Readiness probe" if server.get("started") else "Startup probe"
    said = [
        message_of(event)
        for event in events
        if event.get("reason") == "Unhealthy"
        and probe in message_of(event)
        and (latest(event) or since) >= since  # both by the kubelet
    ]
    if not said:
        return None
    where, name = f"The server in pod {name_of(pod)}", name_of(pod)
    message = said[-1]
    if any(sign in message for sign in _REFUSED):
        what = f"{where} has been loading since {rfc3339(since)} and does not listen yet"
        return found(Reason.DEPLOYING, SERVE, what, f"`kubectl logs {name}` shows how far it is")
    if any(sign in message for sign in _TOO_SLOW):
        what = f"{where} runs since {rfc3339(since)} and does not answer its {probe.lower()} in time"
        return found(Reason.DEPLOYING, SERVE, what, f"`kubectl logs {name}` shows what it does")
    program = re.search(r'exec: "([^"]+)": executable file not found', message)
    if program is not None:
        what = f"{where} never gets ready: its image has no {program[1]}, which asks it for a first token"
        return found(Reason.CONTAINER_FAILED, SERVE, what, "Use a serving.image that has it")
    if "error: 503" in message and not server.get("started"):
        what = f"{where} runs since {rfc3339(since)} and is asked what training wrote down"
        return found(Reason.DEPLOYING, SERVE, what, f"`kubectl logs {name}` shows what it does")
    if "error: 404" in message:
        what = f"{where} runs, but has no guard in front: the {probe.lower()} got 404"
        return found(
            Reason.CONTAINER_FAILED,
            SERVE,
            what,
            "serving.image must be vLLM's OpenAI-compatible server; check serving.engineArgs and its log",
        )
    what = f"{where} runs, but fails its {probe.lower()}: {_answer(message)}"
    return found(Reason.CONTAINER_FAILED, SERVE, what, f"Look at `kubectl logs {name}`")


def missing_object(stage: str, where: str, *, kind: str, name: str, field: str = "its name") -> Diagnosis:
    """A Secret or ConfigMap that a pod refers to, by this ``field`` of the spec, and that is not there."""
    is_secret = kind.lower() == "secret"
    noun = "Secret" if is_secret else "ConfigMap"
    return found(
        Reason.SECRET_NOT_FOUND if is_secret else Reason.CONFIG_MAP_NOT_FOUND,
        stage,
        f"{where}: {noun} {name} does not exist in this namespace",
        f"Create it, or {respec(f'correct {field}', stage=stage)}",
    )


def _owners(pod: Raw) -> list[object]:
    return [owner.get("uid") for owner in (pod.get("metadata") or {}).get("ownerReferences") or ()]


def _configuration(stage: str, pod: Raw, message: str) -> Diagnosis:
    """A Secret, a ConfigMap or one of their keys that the container refers to."""
    where = f"Pod {name_of(pod)} cannot start"
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message, re.IGNORECASE)
    if missing is not None:
        return missing_object(stage, where, kind=missing[1], name=missing[2])
    key = re.search(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/]+/(\S+)", message)
    if key is None:
        return found(Reason.CONTAINER_FAILED, stage, f"{where}: {shortened(message)}", "Check podTemplate")
    reason = Reason.SECRET_NOT_FOUND if key[2] == "Secret" else Reason.CONFIG_MAP_NOT_FOUND
    return found(reason, stage, f"{where}: {key[2]} {key[3]} has no key {key[1]}", "Add the key")


def _crash(stage: str, pod: Raw, status: Raw) -> Diagnosis | None:
    """A server that ends: by the end of its log, which the kubelet keeps as the message."""
    states = (status.get("state") or {}, status.get("lastState") or {})
    ended = next((state["terminated"] for state in states if state.get("terminated")), None)
    if ended is None or status.get("ready"):
        return None
    again = f" (restarted {status['restartCount']} times)" if status.get("restartCount", 0) > 1 else ""
    if ended.get("reason") == "OOMKilled":
        return found(
            Reason.OUT_OF_MEMORY,
            stage,
            f"The server in pod {name_of(pod)} used more memory than its limit{again}",
            "Raise the memory in serving.resources, or lower max-model-len or max-num-seqs in engineArgs",
        )
    log = [line.strip() for line in str(ended.get("message", "")).splitlines() if line.strip()]
    tail = f"; its log ends with: {shortened(' | '.join(log[-3:]), limit=600)}" if log else ""
    return found(
        Reason.CONTAINER_FAILED,
        stage,
        f"The server in pod {name_of(pod)} ended with exit code {ended.get('exitCode')}{again}{tail}",
        "Check serving.engineArgs and serving.image",
    )


def _answer(message: str) -> str:
    """What a probe met, without what differs from one try to the next."""
    text = message.partition("probe failed: ")[2] or message.partition("unknown state: ")[2] or message
    curl = re.search(r"curl: .*", text)
    text = re.sub(r" after \d+ ms", "", curl[0] if curl else text)
    return shortened(re.sub(r'"?[0-9a-f]{64}"?', "", text))
