"""How an attempt ends, as pods and Job conditions of Kubernetes 1.34 tell it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubetune.facts.endings import end_of
from kubetune.facts.observed import Ending, Outcome
from kubetune.facts.parse import parse_job, parse_pod
from kubetune.facts.views import JobView, PodView
from kubetune.stages.train import TRAIN
from kubetune.vocabulary.reasons import Reason

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")


def by_policy(rank: int, code: int) -> tuple[str, str]:
    pod = f"team-a/intents-1-train-1-{rank}-abcde"
    return (
        "PodFailurePolicy",
        f"Container trainer for pod {pod} failed with exit code {code} matching FailJob rule at index 0",
    )


def by_disruption(rank: int) -> tuple[str, str]:
    pod = f"team-a/intents-1-train-1-{rank}-abcde"
    return "PodFailurePolicy", f"Pod {pod} has condition DisruptionTarget matching FailJob rule at index 1"


EVICTED = "Eviction API: evicting"
TAINTED = "Taint manager: deleting due to NoExecute taint"


def at(seconds: float) -> str:
    return (START + timedelta(seconds=int(seconds))).isoformat().replace("+00:00", "Z")


def pod(
    rank: int,
    code: int | None,
    seconds: float,
    *,
    deleting: bool = False,
    disruption: str | None = None,
    reason: str = "Error",
    said: dict[str, Any] | str = "",
    pod_reason: tuple[str, str] | None = None,
) -> PodView:
    """A pod that ended so many seconds after the start."""
    terminated = {
        "exitCode": code,
        "reason": reason,
        "finishedAt": at(seconds),
        "message": said if isinstance(said, str) else json.dumps(said),
    }
    status: dict[str, Any] = {"phase": "Succeeded" if code == 0 else "Failed"}
    if code is not None:
        status["containerStatuses"] = [{"name": "trainer", "state": {"terminated": terminated}}]
    if disruption:
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "message": disruption}]
    if pod_reason:
        status["reason"], status["message"] = pod_reason
    meta: dict[str, Any] = {
        "name": f"intents-1-train-1-{rank}-abcde",
        "labels": {"kubetune.dev/stage": "train"},
        "annotations": {"batch.kubernetes.io/job-completion-index": str(rank)},
    }
    if deleting:
        meta["deletionTimestamp"] = at(seconds)
    return parse_pod({"metadata": meta, "spec": {"nodeName": f"node-{rank}"}, "status": status})


def job(
    *conditions: tuple[str, tuple[str, str], float], completions: int = 2, stage: str = "train"
) -> JobView:
    """A Job with conditions (type, (reason, message), seconds)."""
    return parse_job(
        {
            "metadata": {"name": "intents-1-train-1", "labels": {"kubetune.dev/stage": stage}},
            "spec": {"completions": completions},
            "status": {
                "conditions": [
                    {"type": t, "status": "True", "reason": r, "message": m, "lastTransitionTime": at(s)}
                    for t, (r, m), s in conditions
                ]
            },
        }
    )


def failing(why: tuple[str, str], target: float, failed: float | None = None) -> JobView:
    more = [("Failed", why, failed)] if failed is not None else []
    return job(("FailureTarget", why, target), *more)


@dataclass(frozen=True)
class Case:
    """What is there, and the verdict."""

    title: str
    job: JobView
    pods: list[PodView]
    outcome: Outcome
    reason: Reason
    settled: bool = True
    says: tuple[str, ...] = field(default=())


SIGTERM = {"reason": "Preempted", "message": "SIGTERM: stopped at step 41.", "step": 41}
LOST = {"reason": "PeerLost", "message": "Rank 0 lost its peer: connection reset."}

CASES = [
    Case(
        "both ranks completed, before the Job controller says so",
        job(),
        [pod(0, 0, 60), pod(1, 0, 61)],
        Outcome.SUCCEEDED,
        Reason.COMPLETED,
    ),
    Case(
        "a rank crashed, its peer was ended by the Job controller",
        failing(BACKOFF, 12, 16),
        [pod(0, 44, 15, deleting=True, said=SIGTERM), pod(1, 1, 10, said="Traceback\nValueError: boom\n")],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=("intents-1-train-1-1-abcde on node node-1", "exit code 1", "ValueError: boom"),
    ),
    Case(
        "a rank crashed and its peer saw that first, in the same second",
        failing(BACKOFF, 12, 16),
        [pod(0, 46, 10, said=LOST), pod(1, 1, 10)],
        Outcome.FAILED,
        Reason.POD_FAILED,
    ),
    Case(
        "a rank crashed 1 s ago and its peer still runs",
        job(),
        [pod(1, 1, 10)],
        Outcome.FAILED,
        Reason.POD_FAILED,
        settled=False,
    ),
    Case(
        "the GPU ran out of memory",
        failing(by_policy(0, 43), 12, 16),
        [
            pod(0, 43, 10, said={"reason": "OutOfMemory", "message": "CUDA out of memory at step 3"}),
            pod(1, 44, 15, deleting=True, said=SIGTERM),
        ],
        Outcome.FAILED,
        Reason.OUT_OF_MEMORY,
        says=("CUDA out of memory at step 3.", "zeroStage", "checkpoint"),
    ),
    Case(
        "the kernel killed the container",
        failing(BACKOFF, 12, 16),
        [pod(0, 137, 10, reason="OOMKilled"), pod(1, 46, 10, said=LOST)],
        Outcome.FAILED,
        Reason.OUT_OF_MEMORY,
        says=("OOMKilled", "training.resources"),
    ),
    Case(
        "the loss became NaN",
        failing(by_policy(0, 45), 12, 16),
        [pod(0, 45, 10, said={"reason": "NumericalFailure", "message": "The loss is nan at step 7"})],
        Outcome.FAILED,
        Reason.NUMERICAL_FAILURE,
        says=("nan at step 7", "learningRate"),
    ),
    Case(
        "the trained adapter did not pass its checks",
        failing(by_policy(0, 42), 12, 16),
        [pod(0, 42, 10, said={"reason": "AdapterInvalid", "message": "lora_A of layer 3 is all zeros"})],
        Outcome.FAILED,
        Reason.ADAPTER_INVALID,
    ),
    Case(
        "the output volume was full",
        failing(by_policy(0, 42), 12, 16),
        [
            pod(
                0,
                42,
                10,
                said={"reason": "VolumeUnusable", "message": "The output volume is full: make room."},
            )
        ],
        Outcome.FAILED,
        Reason.VOLUME_UNUSABLE,
        says=("The output volume is full: make room. Then delete the FineTuneJob and apply it again",),
    ),
    Case(
        "the driver of a node is too old, which no retry mends",
        failing(by_policy(0, 42), 12, 16),
        [pod(0, 42, 10, said={"reason": "GpuUnusable", "message": "The driver is 570: upgrade it."})],
        Outcome.FAILED,
        Reason.GPU_UNUSABLE,
        says=("The driver is 570: upgrade it. Then delete the FineTuneJob and apply it again",),
    ),
    Case(
        "invalid input without a message that can be read",
        failing(by_policy(0, 42), 12, 16),
        [pod(0, 42, 10, said="Traceback\nKeyError: 'model'\n")],
        Outcome.FAILED,
        Reason.INVALID_SPEC,
        says=("KeyError: 'model'",),
    ),
    Case(
        "a pod was evicted, and both ranks stopped together",
        failing(by_disruption(1), 14, 18),
        [
            pod(1, 44, 13, deleting=True, disruption=EVICTED, said=SIGTERM),
            pod(0, 44, 13, said=SIGTERM),
        ],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "a pod was evicted and its peer only lost it",
        failing(by_disruption(1), 14, 18),
        [pod(1, 44, 13, deleting=True, disruption=EVICTED, said=SIGTERM), pod(0, 46, 13, said=LOST)],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "a node went away: its pod never reported, the peer lost it",
        failing(by_disruption(1), 314, 318),
        [pod(0, 46, 20, said=LOST)],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
        says=("intents-1-train-1-1-abcde was disrupted",),
    ),
    Case(
        "somebody deleted a pod of the gang",
        failing(BACKOFF, 14, 18),
        [pod(1, 44, 12, deleting=True, said=SIGTERM), pod(0, 44, 12, said=SIGTERM)],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "a drained node ended a pod that ignored SIGTERM",
        failing(by_disruption(0), 44, 48),
        [pod(0, 137, 40, deleting=True, disruption=TAINTED)],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "a rank crashed while its pod was being evicted: what it said counts",
        failing(by_policy(0, 43), 12, 16),
        [pod(0, 43, 10, deleting=True, disruption=EVICTED)],
        Outcome.FAILED,
        Reason.OUT_OF_MEMORY,
    ),
    Case(
        "the crashed pod was never seen, only the peer that was cleaned up",
        failing(BACKOFF, 12, 16),
        [pod(0, 44, 15, deleting=True, said=SIGTERM)],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=("backoff limit",),
    ),
    Case(
        "a collective timed out on all ranks",
        failing(BACKOFF, 1812, 1816),
        [pod(0, 46, 1810, said=LOST), pod(1, 46, 1810, said=LOST)],
        Outcome.FAILED,
        Reason.PEER_LOST,
        says=("lost its peer",),
    ),
    Case(
        "all pods are gone: the Job's condition names the code",
        failing(by_policy(0, 43), 12, 16),
        [],
        Outcome.FAILED,
        Reason.OUT_OF_MEMORY,
        says=("exit code 43", "training.resources"),
    ),
    Case(
        "all pods are gone after an eviction",
        failing(by_disruption(0), 12, 16),
        [],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "all pods are gone and nobody knows why",
        failing(BACKOFF, 12, 16),
        [],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=("Its pods are gone.",),
    ),
    Case(
        "FailureTarget came before any pod was seen",
        failing(BACKOFF, 12),
        [],
        Outcome.FAILED,
        Reason.POD_FAILED,
        settled=False,
    ),
    Case(
        "a pod was evicted for filling its own shared memory",
        job(("FailureTarget", BACKOFF, 3), ("Failed", BACKOFF, 4), completions=1),
        [
            pod(
                0,
                137,
                2,
                pod_reason=("Evicted", 'Usage of EmptyDir volume "kubetune-shm" exceeds the limit "1Gi". '),
            )
        ],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=('"kubetune-shm" exceeds the limit "1Gi". Have the platform raise settings.shmSize',),
    ),
    Case(
        "a pod was evicted for filling /tmp",
        job(("FailureTarget", BACKOFF, 3), ("Failed", BACKOFF, 4), completions=1),
        [
            pod(
                0,
                137,
                2,
                pod_reason=("Evicted", 'Usage of EmptyDir volume "kubetune-tmp" exceeds the limit "20Gi". '),
            )
        ],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=('"kubetune-tmp" exceeds the limit "20Gi". Have the platform raise settings.scratchSize',),
    ),
    Case(
        "a node under pressure evicted the pod",
        job(("FailureTarget", by_disruption(0), 3), ("Failed", by_disruption(0), 4), completions=1),
        [
            pod(
                0,
                137,
                2,
                disruption="The node was low on resource: memory.",
                pod_reason=("Evicted", "The node was low on resource: memory."),
            )
        ],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
        says=("low on resource: memory.",),
    ),
    *(
        Case(
            f"the kubelet refused the pod ({reason}), its container never ran",
            job(("FailureTarget", BACKOFF, 3), ("Failed", BACKOFF, 4), completions=1),
            [pod(0, None, 2, pod_reason=(reason, message))],
            Outcome.PREEMPTED,
            Reason.PREEMPTED,
            says=("on node node-0 was turned away by the node", reason, message.removesuffix(".")),
        )
        for reason, message in {
            "UnexpectedAdmissionError": "Pod was rejected: Allocate failed due to no healthy devices",
            "OutOfcpu": "Pod was rejected: Node didn't have enough resource: cpu, requested: 8000",
            "OutOfnvidia.com/gpu": "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu",
            "NodeAffinity": "Pod was rejected: Predicate NodeAffinity failed",
            "TopologyAffinityError": "Pod was rejected: Topology locality",
            "NodeShutdown": "Pod was rejected as the node is shutting down.",
        }.items()
    ),
    *(
        Case(
            f"the node ended a pod that ran ({reason})",
            job(("FailureTarget", BACKOFF, 3), ("Failed", BACKOFF, 4), completions=1),
            [pod(0, 137, 2, pod_reason=(reason, message))],
            Outcome.PREEMPTED,
            Reason.PREEMPTED,
            says=(message,),
        )
        for reason, message in {
            "Terminated": "Pod was terminated in response to imminent node shutdown.",
            "Preempting": "Preempted in order to admit critical pod.",
        }.items()
    ),
    Case(
        "the kubelet refused one rank, and the other never met it",
        failing(BACKOFF, 12, 16),
        [pod(0, 46, 10, said=LOST), pod(1, None, 2, pod_reason=("OutOfcpu", "Pod was rejected: cpu"))],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "another pod wrote to the run directory",
        failing(BACKOFF, 12, 16),
        [pod(0, 47, 10, said={"reason": "DirectoryInUse", "message": "Pod x writes to /output/job."})],
        Outcome.PREEMPTED,
        Reason.DIRECTORY_IN_USE,
        says=("Pod x writes to /output/job.",),
    ),
    Case(
        "the clock of the node whose rank crashed is five minutes behind",
        failing(BACKOFF, 12, 16),
        [pod(0, 44, 15, deleting=True, said=SIGTERM), pod(1, 1, -290)],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=("exit code 1",),
    ),
    Case(
        "the clock of the node whose rank crashed is five minutes ahead",
        failing(BACKOFF, 12, 16),
        [pod(0, 44, 15, deleting=True, said=SIGTERM), pod(1, 1, 310)],
        Outcome.FAILED,
        Reason.POD_FAILED,
        says=("exit code 1",),
    ),
    Case(
        "the clock of the node of the evicted pod is five minutes behind",
        failing(by_disruption(1), 14, 18),
        [pod(0, 1, 15), pod(1, 44, -290, deleting=True, disruption=EVICTED, said=SIGTERM)],
        Outcome.PREEMPTED,
        Reason.PREEMPTED,
    ),
    Case(
        "a pod ran out of memory on a node that shuts down",
        job(("FailureTarget", BACKOFF, 3), ("Failed", BACKOFF, 4), completions=1),
        [
            pod(
                0,
                43,
                2,
                pod_reason=("Terminated", "Pod was terminated in response to imminent node shutdown."),
            )
        ],
        Outcome.FAILED,
        Reason.OUT_OF_MEMORY,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_verdict(case: Case) -> None:
    ending = end_of(case.job, case.pods, more_memory=TRAIN.more_memory)
    assert isinstance(ending, Ending)
    assert (ending.outcome, ending.reason, ending.settled) == (case.outcome, case.reason, case.settled)
    for words in case.says:
        assert words in ending.message
    assert ending.message.endswith(".")
    assert ending.finished is not None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_order_of_pods_does_not_matter(case: Case) -> None:
    assert end_of(case.job, case.pods, more_memory=TRAIN.more_memory) == end_of(
        case.job, case.pods[::-1], more_memory=TRAIN.more_memory
    )


def test_a_pod_that_never_ran_has_an_end_before_the_job_controller_says_so() -> None:
    """Else the growing pause between attempts would not begin, and they would follow each other at once."""
    started = replace(job(completions=1), created=START, started=START + timedelta(seconds=1))
    ending = end_of(
        started, [pod(0, None, 2, pod_reason=("OutOfcpu", "Pod was rejected: cpu"))], more_memory=""
    )
    assert ending is not None
    assert ending.finished == START + timedelta(seconds=1)


def test_a_job_whose_pods_run_has_no_ending() -> None:
    assert end_of(job(), [], more_memory="") is None


def test_one_of_two_ranks_completed_is_not_an_end() -> None:
    assert end_of(job(), [pod(0, 0, 60)], more_memory="") is None


def test_a_suspended_job_has_no_ending() -> None:
    assert end_of(job(("Suspended", ("JobSuspended", "Job suspended"), 1)), [], more_memory="") is None
