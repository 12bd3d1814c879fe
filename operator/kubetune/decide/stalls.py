"""What holds for a job as a whole, decided once for ``plan`` and ``status``.

Is it stalled, at which stage is it, and how long does a retry wait? Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..facts.endings import STALLING
from ..facts.observe import preempted_in_a_row
from ..facts.observed import Ending, Observed, Outcome
from ..spec.settings import JobSettings
from ..vocabulary.reasons import LOOK_AFTER, Reason

_LONGEST_PAUSE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Why nothing goes on before a person changes something."""

    reason: Reason
    message: str
    stage: str
    """prepare, train or serve: where it is stuck."""


def stall_of(job: FineTuneJob, observed: Observed) -> Stall | None:
    """Say why the job is stalled; None when it is not."""
    stage = stage_of(observed)
    if observed.conflicts:
        taken = " and ".join(f"{kind} {name}" for kind, name in observed.conflicts)
        does, it = ("do", "them") if len(observed.conflicts) > 1 else ("does", "it")
        return Stall(
            reason=Reason.NAME_CONFLICT,
            message=f"{taken} {does} not belong to this FineTuneJob, which leaves {it} alone; delete {it}, "
            "or make a FineTuneJob with another name.",
            stage=stage,
        )
    if observed.diagnosis is not None and observed.diagnosis.stalled:
        return Stall(reason=observed.diagnosis.reason, message=observed.diagnosis.message, stage=stage)
    ending, failures = last_ending(observed)
    if ending is None or ending.outcome is not Outcome.FAILED:
        return None
    if ending.reason in STALLING:
        return Stall(reason=ending.reason, message=ending.message, stage=stage)
    most = job.spec.training.retries.max
    if failures <= most:
        return None
    one, many = ("run of prepare", "runs of prepare") if stage == "prepare" else ("attempt", "attempts")
    tries = f"{failures} {one if failures == 1 else many}"
    return Stall(
        reason=Reason.RETRIES_EXHAUSTED,
        message=f"{tries} failed, and training.retries.max is {most}. The last one: {ending.message} Delete "
        "the FineTuneJob and apply it again when the cause is removed; finished work is adopted.",
        stage=stage,
    )


def stage_of(observed: Observed) -> str:
    """The first stage that is not reached."""
    if observed.artifact is not None:
        return "serve"
    return "train" if observed.prepared is not None else "prepare"


def last_ending(observed: Observed) -> tuple[Ending | None, int]:
    """How the latest try of the stage at hand ended, and how many of its tries count as failures."""
    match stage_of(observed):
        case "prepare":
            return observed.prepare_ending, observed.prepare_failures
        case "train":
            return (observed.attempt.ending if observed.attempt else None), observed.failures
        case _:
            return None, 0


def retry_at(observed: Observed, settings: JobSettings) -> datetime | None:
    """When the next try of the stage at hand may start; None: at once.

    Failures double the pause. The first preemption in a row costs none; further ones do, since the cluster
    may refuse every pod, or somebody deletes every Job. A success whose message is unknown gets the time
    that the message needs to arrive.
    """
    ending, failures = last_ending(observed)
    if stage_of(observed) == "prepare" and (ending is None or ending.outcome is Outcome.SUCCEEDED):
        attempt = observed.attempt
        ends = [e.finished for e in (ending, attempt.ending if attempt else None) if e and e.finished]
        return max(ends) + LOOK_AFTER if ends else None
    if ending is None:
        return None
    since = ending.finished or (observed.attempt.started if observed.attempt else None)
    if since is None:
        return None
    doublings = failures - 1
    if ending.outcome is Outcome.PREEMPTED:
        doublings = _preempted_in_a_row(observed) - 2
    if doublings < 0:
        return since
    pause = timedelta(seconds=settings.retry_backoff_seconds) * (1 << min(doublings, 10))
    return since + min(pause, _LONGEST_PAUSE)


def _preempted_in_a_row(observed: Observed) -> int:
    if stage_of(observed) == "prepare":
        return observed.prepare_preempted
    return preempted_in_a_row([attempt.ending for attempt in observed.attempts])
