"""Why a run of a stage ended: one verdict over its pods, in a sentence.

Pure. When one pod of a gang fails, the Job controller ends the others: the pod that the Job's condition names
decides, else what says most, unless it only lost its peer (46) or was deleted by that clean-up. When the pods
are gone the Job's condition decides. No times are compared: pods, nodes and controllers have clocks of their
own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from kubetune_trainer.contract.messages import ExitCode
from kubetune_trainer.contract.messages import Reason as TrainerReason

from ..vocabulary.reasons import REASONS, Reason
from ..vocabulary.sentences import more_room, sentences
from .observed import Ending, Outcome
from .termination import message
from .views import ConditionView, JobView, PodView

_INVALID: Final = {
    TrainerReason.DATA_INVALID: Reason.DATA_INVALID,
    TrainerReason.MODEL_UNAVAILABLE: Reason.MODEL_UNAVAILABLE,
    TrainerReason.ADAPTER_INVALID: Reason.ADAPTER_INVALID,
    TrainerReason.DOES_NOT_FIT: Reason.DOES_NOT_FIT,
    TrainerReason.VOLUME_UNUSABLE: Reason.VOLUME_UNUSABLE,
    TrainerReason.GPU_UNUSABLE: Reason.GPU_UNUSABLE,
}
"""What says more about exit code 42."""

_BY_NODE: Final = re.compile(
    r"UnexpectedAdmissionError|TopologyAffinityError|NodeAffinity|OutOf.+"  # refused before any container ran
    r"|NodeShutdown|Shutdown|Terminated|Preempting"
)
"""Reasons of pods that the kubelet refused or ended for the node's sake; Evicted is told by its condition."""

_LOG_LIMIT: Final = 600
"""Characters of a log's tail that a message keeps."""

_TELLING: Final = (ExitCode.INVALID_INPUT, ExitCode.OUT_OF_MEMORY, ExitCode.NUMERICAL_FAILURE)
"""Exit codes that name the cause; any other may be a consequence of it."""


def end_of(job: JobView, pods: Sequence[PodView], *, more_memory: str) -> Ending | None:
    """Judge a Job by itself and by those of its pods that have ended; None while it runs or is suspended.

    As long as not all pods have ended (``settled`` is False) another pod may still change it. ``more_memory``
    says what to do when the run used more memory than it had.
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
    failed = [pod for pod in pods if pod.phase == "Failed"]
    if target is None:
        failed = [pod for pod in failed if not pod.released]  # suspended, or the Job is being deleted
        if not failed:
            return None
    failed.sort(key=lambda pod: _order(pod, target))
    lost = [pod for pod in failed if pod.exit_code == ExitCode.PEER_LOST]
    own = [pod for pod in failed if pod not in lost and not _cleaned_up(pod, target)]
    ended = done | {pod.index or 0 for pod in failed}
    if not own and not lost and len(ended) >= max(job.completions, 1) and not _by_policy(target):
        own = failed  # all of them were deleted, and the Job controller deletes no first one: somebody did
    if own:
        verdict = _by_pod(own[0], more_memory)
    elif lost and not _by_policy(target):
        verdict = _by_pod(lost[0], more_memory)
    elif target is None:
        return None
    else:
        verdict = _by_condition(job, target, more_memory)
    outcome, reason, text = verdict
    finished = next((pod.finished for pod in own or failed), None) or (target.since if target else None)
    finished = finished or job.started or job.created  # a pod that never ran has no times of its own
    # Of a Job that was suspended pods from before and after are seen: only the controller knows all.
    alone = len({pod.index or 0 for pod in pods}) == len(pods)
    settled = job.condition("Failed") is not None or (alone and len(ended) >= max(job.completions, 1))
    return Ending(outcome=outcome, reason=reason, message=text, finished=finished, settled=settled)


def _order(pod: PodView, target: ConditionView | None) -> tuple[bool, bool, bool, bool, int, str]:
    """What the Job controller saw first, as far as it says so; then what says most."""
    named = target is not None and pod.name in target.message
    disrupted_first = target is None or _by_policy(target)
    return (
        not named,
        (pod.disruption is None) is disrupted_first,
        pod.deleting,
        pod.exit_code not in _TELLING and pod.container_reason != "OOMKilled",
        pod.index or 0,
        pod.name,
    )


def _cleaned_up(pod: PodView, target: ConditionView | None) -> bool:
    """Whether the Job controller may have deleted the pod because another one had failed."""
    return target is not None and pod.deleting and pod.disruption is None and pod.name not in target.message


def _by_policy(target: ConditionView | None) -> bool:
    """Whether the Job failed by one of the rules of podFailurePolicy, whose message names the pod."""
    return target is not None and target.reason == "PodFailurePolicy"


def _by_pod(pod: PodView, more_memory: str) -> tuple[Outcome, Reason, str]:
    told = message(pod.termination)
    where = f"Pod {pod.name}" + (f" on node {pod.node}" if pod.node else "")
    said = told.message.strip() if told else ""
    code = pod.exit_code
    if code == ExitCode.OUT_OF_MEMORY or pod.container_reason == "OOMKilled":
        killed = f"{where} was killed because it used more memory than its limit (OOMKilled)"
        return Outcome.FAILED, Reason.OUT_OF_MEMORY, sentences(said or killed, more_memory)
    if code in (ExitCode.INVALID_INPUT, ExitCode.NUMERICAL_FAILURE):
        reason = _INVALID.get(told.reason, Reason.INVALID_SPEC) if told else Reason.INVALID_SPEC
        reason = Reason.NUMERICAL_FAILURE if code == ExitCode.NUMERICAL_FAILURE else reason
        return Outcome.FAILED, reason, sentences(said or f"{where} failed{_log(pod)}", REASONS[reason].remedy)
    if pod.reason == "Evicted" and pod.disruption is None:  # for what it used itself, not for the node's sake
        text = sentences(f"{where} was evicted: {pod.message.strip()}", more_room(pod.message))
        return Outcome.FAILED, Reason.POD_FAILED, text
    if pod.disruption is not None:
        return Outcome.PREEMPTED, Reason.PREEMPTED, sentences(f"{where} was disrupted: {pod.disruption}")
    if _BY_NODE.fullmatch(pod.reason):
        done = "turned away" if code is None else "ended"
        text = f"{where} was {done} by the node ({pod.reason}): {pod.message.strip()}"
        return Outcome.PREEMPTED, Reason.PREEMPTED, sentences(text)
    if code == ExitCode.PREEMPTED:
        return Outcome.PREEMPTED, Reason.PREEMPTED, sentences(f"{where} was asked to stop")
    if code == ExitCode.DIRECTORY_IN_USE:
        return Outcome.PREEMPTED, Reason.DIRECTORY_IN_USE, sentences(said or f"{where} found another at work")
    if code == ExitCode.PEER_LOST:
        return Outcome.FAILED, Reason.PEER_LOST, sentences(said or f"{where} lost its peers")
    if code is None:
        why = ": ".join(filter(None, (pod.reason, pod.message))) or "its container never ran"
        return Outcome.FAILED, Reason.POD_FAILED, sentences(f"{where} failed: {why}")
    why = f": {said}" if said else _log(pod)
    return Outcome.FAILED, Reason.POD_FAILED, sentences(f"{where} failed with exit code {code}{why}")


def _by_condition(job: JobView, condition: ConditionView, more_memory: str) -> tuple[Outcome, Reason, str]:
    """Judge by what the Job controller wrote, as nothing is left of the pods."""
    text = condition.message
    if "DisruptionTarget" in text:
        pod = re.match(r"Pod [^/ ]+/(\S+)", text)
        what = f"Pod {pod[1]} was disrupted" if pod else "A pod was disrupted"
        return Outcome.PREEMPTED, Reason.PREEMPTED, f"{what} (evicted, preempted, or its node went away)."
    if "exit code 43 " in text:
        return Outcome.FAILED, Reason.OUT_OF_MEMORY, sentences(text, more_memory)
    if "exit code 45 " in text:
        remedy = REASONS[Reason.NUMERICAL_FAILURE].remedy
        return Outcome.FAILED, Reason.NUMERICAL_FAILURE, sentences(text, remedy)
    if "exit code 42 " in text:
        why = "Its pod is gone; prepared/errors.jsonl on the output volume may say more."
        return Outcome.FAILED, Reason.INVALID_SPEC, sentences(text, why, REASONS[Reason.INVALID_SPEC].remedy)
    return (
        Outcome.FAILED,
        Reason.POD_FAILED,
        sentences(text or f"Job {job.name} failed", "Its pods are gone."),
    )


def _log(pod: PodView) -> str:
    """The end of the log, which the kubelet puts in place of a message that was never written."""
    lines = [line.strip() for line in pod.termination.splitlines() if line.strip()]
    tail = " | ".join(lines[-3:])[-_LOG_LIMIT:]
    return f"; the log ends with: {tail}" if tail else ""
