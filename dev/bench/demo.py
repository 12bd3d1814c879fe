"""Reads from the demo's finished job how long its stages took: its status, its pods and rank 0's log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dev import paths
from dev.bench import audit
from dev.bench.figures import Figure
from dev.cluster import containerd
from dev.demo.run import NAMESPACE
from dev.kubectl import Kubectl, condition
from kubetune.vocabulary.names import POD_INDEX

PART: Final = "demo"
NAME: Final = "triage-1"
FIRST_STEP: Final = 60
FIRST_ANSWER: Final = 80
PROCESS_START: Final = 10
PROMOTION: Final = 2
_STEP: Final = re.compile(r"^(\S+) .*\bstep \d+ of \d+:", re.MULTILINE)

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """When a pod was created, its container started, was ready and ended, in seconds since the epoch."""

    created: float
    started: float | None
    ready: float | None
    ended: float | None


def measure(kubectl: Kubectl, *, namespace: str = NAMESPACE, name: str = NAME) -> list[Figure]:
    """Read a job that is trained, and served if it asks for that; no figures when there is no such job."""
    job = kubectl.find("finetunejob", name, "-n", namespace)
    if job is None or condition(job, "Trained").get("status") != "True":
        return []
    selector = f"kubetune.dev/finetunejob={name}"
    pods = kubectl.get("pods", "-n", namespace, "-l", selector)["items"]
    return list(_figures(job, pods, _first_step(kubectl, pods), _public(namespace, name)))


def _public(namespace: str, name: str) -> float | None:
    """When the operator asked for the public Service, by the audit log; None where that is not there."""
    log = paths.cluster_state() / "logs" / "audit.jsonl"
    if not log.exists():
        return None
    asked = [
        request.received
        for request in audit.read(log)
        if (request.verb, request.resource, request.namespace, request.name)
        == ("create", "services", namespace, name)
        and request.is_write
    ]
    return asked[-1] if asked else None


def _figures(
    job: Raw, pods: Sequence[Raw], first_step: float | None, public: float | None
) -> Iterator[Figure]:
    applied = _seconds(job["metadata"]["creationTimestamp"])
    trained, served = _since(job, "Trained"), _since(job, "Served")
    if first_step is not None:
        yield _figure("kubectl apply to first training step", first_step - applied, FIRST_STEP)
    prepare = next(iter(_of_stage(pods, "prepare")), None)
    if prepare is not None and prepare.started and prepare.ended:
        yield _figure("- apply to prepare's container", prepare.started - applied)
        yield _figure("- prepare's container", prepare.ended - prepare.started)
        training = _of_stage(pods, "train")
        started = [pod.started for pod in training if pod.started]
        if started and first_step is not None:
            yield _figure("- end of prepare to the last training container", max(started) - prepare.ended)
            yield _figure("training container to first step", first_step - max(started), PROCESS_START)
    if trained is None or served is None:
        return
    asked = next(iter(_of_stage(pods, "evaluate")), None)
    answered = asked.created if asked is not None else served
    yield _figure("Trained to first completion", answered - trained, FIRST_ANSWER)
    server = next(iter(_of_stage(pods, "serve")), None)
    if server is not None and server.started and server.ready:
        yield _figure("- Trained to the server's container", server.started - trained)
        yield _figure("- server's container to its readiness", server.ready - server.started)
        yield _figure("- readiness to first completion", answered - server.ready)
    if asked is not None and asked.started and asked.ended:
        yield _figure("evaluator's container", asked.ended - asked.started)
        if public is not None:
            yield _figure("end of the evaluation to the public Service", public - asked.ended, PROMOTION)


def _figure(name: str, seconds: float, bar: float | None = None) -> Figure:
    return Figure(part=PART, name=name, value=seconds, unit="s", bar=bar)


def _first_step(kubectl: Kubectl, pods: Sequence[Raw]) -> float | None:
    """When rank 0 of the first attempt had done a step, by the timestamps of its log."""
    rank0 = [
        pod
        for pod in pods
        if pod["metadata"]["labels"].get("kubetune.dev/stage") == "train"
        and pod["metadata"]["annotations"].get(POD_INDEX) == "0"
    ]
    for pod in sorted(rank0, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
        meta = pod["metadata"]
        log = kubectl("logs", meta["name"], "-n", meta["namespace"], "-c", "trainer", "--timestamps")
        if found := _STEP.search(log):
            return _seconds(found[1])
    return None


def _of_stage(pods: Sequence[Raw], stage: str) -> list[Pod]:
    found = [pod for pod in pods if pod["metadata"]["labels"].get("kubetune.dev/stage") == stage]
    return sorted(map(_pod, found), key=lambda pod: pod.created)


def _pod(raw: Raw) -> Pod:
    containers: Sequence[Raw] = raw["status"].get("containerStatuses") or ({},)
    state: Raw = containers[0].get("state") or {}
    ended, running = state.get("terminated") or {}, state.get("running") or {}
    conditions: Sequence[Raw] = raw["status"].get("conditions") or ()
    ready: Raw = next((c for c in conditions if c["type"] == "Ready"), {})
    exactly = containerd.started(containers[0].get("containerID", "").removeprefix("containerd://"))
    return Pod(
        created=_seconds(raw["metadata"]["creationTimestamp"]),
        started=exactly or _maybe(ended.get("startedAt") or running.get("startedAt")),
        ready=_maybe(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
        ended=_maybe(ended.get("finishedAt")),
    )


def _since(job: Raw, type_: str) -> float | None:
    found = condition(dict(job), type_)
    return _seconds(found["lastTransitionTime"]) if found.get("status") == "True" else None


def _maybe(text: str | None) -> float | None:
    return None if text is None else _seconds(text)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
