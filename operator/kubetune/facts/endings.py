"""Why a prepare Job or an attempt ended: one verdict over its pods, in a sentence.

Pure. When one pod of a gang fails, the Job controller ends the others: the pod that finished first decides,
unless it only lost its peer (46) or was deleted by that clean-up. When the pods are gone the Job's condition
decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from kubetune_trainer.messages import ExitCode
from kubetune_trainer.messages import Reason as TrainerReason

from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import ADOPTED, APPLY_AGAIN, sentences
from .observed import Ending, Outcome
from .termination import message
from .views import ConditionView, JobView, PodView

STALLING: Final = frozenset(
    {
        Reason.INVALID_SPEC,
        Reason.DATA_INVALID,
        Reason.MODEL_UNAVAILABLE,
        Reason.DOES_NOT_FIT,
        Reason.OUT_OF_MEMORY,
        Reason.NUMERICAL_FAILURE,
        Reason.ADAPTER_INVALID,
        Reason.VOLUME_UNUSABLE,
    }
)
"""Failures that the same spec would meet again: nothing is retried."""

_INVALID: Final = {
    TrainerReason.DATA_INVALID: Reason.DATA_INVALID,
    TrainerReason.MODEL_UNAVAILABLE: Reason.MODEL_UNAVAILABLE,
    TrainerReason.ADAPTER_INVALID: Reason.ADAPTER_INVALID,
    TrainerReason.DOES_NOT_FIT: Reason.DOES_NOT_FIT,
    TrainerReason.VOLUME_UNUSABLE: Reason.VOLUME_UNUSABLE,
}
"""What says more about exit code 42."""

_AGAIN: Final = {
    Reason.INVALID_SPEC: f"Correct the spec, {APPLY_AGAIN}; {ADOPTED}.",
    Reason.DATA_INVALID: f"Fix the data, {APPLY_AGAIN}; {ADOPTED}.",
    Reason.MODEL_UNAVAILABLE: f"Make the model available, {APPLY_AGAIN}; {ADOPTED}.",
    Reason.DOES_NOT_FIT: f"Use a larger zeroStage, a smaller maxLength or larger GPUs, {APPLY_AGAIN}.",
    Reason.NUMERICAL_FAILURE: f"Lower training.learningRate or look for broken rows, {APPLY_AGAIN}.",
    Reason.ADAPTER_INVALID: f"Change training.adapter, {APPLY_AGAIN}.",
    Reason.VOLUME_UNUSABLE: f"Then {APPLY_AGAIN}; {ADOPTED}.",
}

_MORE_MEMORY: Final = {
    "prepare": f"Raise the memory limit in training.resources, {APPLY_AGAIN}.",
    "train": f"Raise the memory in training.resources, or use GPUs with more; {APPLY_AGAIN}: it goes on "
    "from the last checkpoint. A smaller dataset.maxLength, training.batchSize or training.adapter.rank "
    "needs less, but trains from the beginning; so do more GPUs or a larger training.deepspeed.zeroStage, "
    "which need another training.seed once there are checkpoints.",
}

_BY_NODE: Final = re.compile(
    r"UnexpectedAdmissionError|TopologyAffinityError|NodeAffinity|OutOf.+"  # refused before any container ran
    r"|NodeShutdown|Shutdown|Terminated|Preempting"
)
"""Reasons of pods that the kubelet refused or ended for the node's sake; Evicted is told by its condition."""

_LOG_LIMIT: Final = 600
"""Characters of a log's tail that a message keeps."""


def end_of(job: JobView, pods: Sequence[PodView]) -> Ending | None:
    """Judge a Job by itself and by those of its pods that have ended; None while it runs.

    As long as not all pods have ended (``settled`` is False) a pod that finished earlier may still change it.
    """
    done = {pod.index or 0 for pod in pods if pod.phase == "Succeeded"}
    if job.condition("Complete") or len(done) >= max(job.completions, 1):
        finished = job.completed or max((pod.finished for pod in pods if pod.finished), default=None)
        return Ending(
            outcome=Outcome.SUCCEEDED,
            reason=Reason.COMPLETED,
            message="Completed.",
            finished=finished,
            settled=True,
        )
    target = job.condition("FailureTarget") or job.condition("Failed")
    failed = sorted((pod for pod in pods if pod.phase == "Failed"), key=_order)
    if not failed and target is None:
        return None
    lost = [pod for pod in failed if pod.exit_code == ExitCode.PEER_LOST]
    own = [pod for pod in failed if pod not in lost and not _cleaned_up(pod, target)]
    if own:
        verdict = _by_pod(job, own[0])
    elif lost and (target is None or target.reason != "PodFailurePolicy"):
        verdict = _by_pod(job, lost[0])
    elif target is None:
        return None
    else:
        verdict = _by_condition(job, target)
    outcome, reason, message = verdict
    finished = next((pod.finished for pod in own or failed), None) or (target.since if target else None)
    finished = finished or job.started or job.created  # a pod that never ran has no times of its own
    ended = done | {pod.index or 0 for pod in failed}
    settled = job.condition("Failed") is not None or len(ended) >= max(job.completions, 1)
    return Ending(outcome=outcome, reason=reason, message=message, finished=finished, settled=settled)


def _order(pod: PodView) -> tuple[datetime, bool, int]:
    """Earliest end first; in the same second a pod that nobody deleted first."""
    return pod.finished or datetime.max.replace(tzinfo=UTC), pod.deleting, pod.index or 0


def _cleaned_up(pod: PodView, target: ConditionView | None) -> bool:
    """Whether the Job controller deleted the pod because another one had failed."""
    if target is None or not pod.deleting or pod.disruption is not None or pod.name in target.message:
        return False
    return target.since is None or pod.finished is None or pod.finished >= target.since


def _by_pod(job: JobView, pod: PodView) -> tuple[Outcome, Reason, str]:
    told = message(pod.termination)
    where = f"Pod {pod.name}" + (f" on node {pod.node}" if pod.node else "")
    said = told.message.strip() if told else ""
    code = pod.exit_code
    if code == ExitCode.OUT_OF_MEMORY or pod.container_reason == "OOMKilled":
        killed = f"{where} was killed because it used more memory than its limit (OOMKilled)"
        return Outcome.FAILED, Reason.OUT_OF_MEMORY, sentences(said or killed, _more_memory(job.stage))
    if code in (ExitCode.INVALID_INPUT, ExitCode.NUMERICAL_FAILURE):
        reason = _INVALID.get(told.reason, Reason.INVALID_SPEC) if told else Reason.INVALID_SPEC
        reason = Reason.NUMERICAL_FAILURE if code == ExitCode.NUMERICAL_FAILURE else reason
        return Outcome.FAILED, reason, sentences(said or f"{where} failed{_log(pod)}", _AGAIN[reason])
    if pod.reason == "Evicted" and pod.disruption is None:  # for what it used itself, not for the node's sake
        return Outcome.FAILED, Reason.POD_FAILED, sentences(f"{where} was evicted: {pod.message.strip()}")
    if pod.disruption is not None:
        return Outcome.PREEMPTED, Reason.PREEMPTED, sentences(f"{where} was disrupted: {pod.disruption}")
    if _BY_NODE.fullmatch(pod.reason):
        done = "turned away" if code is None else "ended"
        text = f"{where} was {done} by the node ({pod.reason}): {pod.message.strip()}"
        return Outcome.PREEMPTED, Reason.PREEMPTED, sentences(text)
    if code == ExitCode.PREEMPTED:
        return Outcome.PREEMPTED, Reason.PREEMPTED, sentences(f"{where} was asked to stop")
    if code == ExitCode.PEER_LOST:
        return Outcome.FAILED, Reason.PEER_LOST, sentences(said or f"{where} lost its peers")
    if code is None:
        why = ": ".join(filter(None, (pod.reason, pod.message))) or "its container never ran"
        return Outcome.FAILED, Reason.POD_FAILED, sentences(f"{where} failed: {why}")
    why = f": {said}" if said else _log(pod)
    return Outcome.FAILED, Reason.POD_FAILED, sentences(f"{where} failed with exit code {code}{why}")


def _by_condition(job: JobView, condition: ConditionView) -> tuple[Outcome, Reason, str]:
    """Judge by what the Job controller wrote, as nothing is left of the pods."""
    text = condition.message
    if "DisruptionTarget" in text:
        pod = re.match(r"Pod [^/ ]+/(\S+)", text)
        what = f"Pod {pod[1]} was disrupted" if pod else "A pod was disrupted"
        return Outcome.PREEMPTED, Reason.PREEMPTED, f"{what} (evicted, preempted, or its node went away)."
    if "exit code 43 " in text:
        return Outcome.FAILED, Reason.OUT_OF_MEMORY, sentences(text, _more_memory(job.stage))
    if "exit code 45 " in text:
        return Outcome.FAILED, Reason.NUMERICAL_FAILURE, sentences(text, _AGAIN[Reason.NUMERICAL_FAILURE])
    if "exit code 42 " in text:
        why = "Its pod is gone; prepared/errors.jsonl on the output volume may say more."
        return Outcome.FAILED, Reason.INVALID_SPEC, sentences(text, why, _AGAIN[Reason.INVALID_SPEC])
    return (
        Outcome.FAILED,
        Reason.POD_FAILED,
        sentences(text or f"Job {job.name} failed", "Its pods are gone."),
    )


def _more_memory(stage: str | None) -> str:
    return _MORE_MEMORY["prepare" if stage == "prepare" else "train"]


def _log(pod: PodView) -> str:
    """The end of the log, which the kubelet puts in place of a message that was never written."""
    lines = [line.strip() for line in pod.termination.splitlines() if line.strip()]
    tail = " | ".join(lines[-3:])[-_LOG_LIMIT:]
    return f"; the log ends with: {tail}" if tail else ""
