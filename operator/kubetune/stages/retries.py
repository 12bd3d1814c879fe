"""When a stage runs again: one run at a time, its budget, and the growing pause before the next. Pure.

Pauses are measured by how long the operator has known of an end: whoever wrote the end has another clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed, Outcome, Run, Tally
from ..facts.views import Kind, Manifest
from ..vocabulary.periods import LOOK_AFTER, doubled
from ..vocabulary.reasons import REASONS, Finding, Reason
from .foundation import foundation
from .plan import Doomed, Plan
from .retry_status import remembered_tallies
from .stage import Look, Stage

_LONGEST_PAUSE: Final = timedelta(minutes=10)


def next_run(
    stage: Stage,
    look: Look,
    build: Callable[[int], Manifest],
    *,
    period: timedelta | None = None,
    unheard: timedelta = timedelta(),
    after: int = 0,
) -> Plan:
    """Make the first or the next run when its time has come; two never run at a time.

    ``period``: how often to look while one runs. ``unheard``: how long the message of a success may be late.
    ``after``: number of a run that is known although its Job is gone.
    """
    if look.stalled:
        return Plan()
    base, last = foundation(look), look.observed.last_run(stage.name)
    if last is not None and last.ending is None:
        return Plan(create_once=base, requeue_after=period)
    if last is not None and last.ending is not None and not last.ending.settled:
        return Plan(create_once=base, delete=_given_back(look, last), requeue_after=LOOK_AFTER)
    pause, rested = _pause(stage, look, unheard), look.observed.rested
    if pause > rested:
        return Plan(create_once=base, requeue_after=pause - rested)
    number = max(last.number if last else 0, look.observed.tally(stage.name).number, after) + 1
    return Plan(create_once=(*base, build(number)), requeue_after=LOOK_AFTER)


def exhausted(stage: Stage, observed: Observed, *, job: FineTuneJob) -> Finding | None:
    """Say that too many runs of a stage have failed, or that it failed in a way that another would repeat."""
    last = observed.last_run(stage.name)
    ending = last.ending if last else None
    if ending is None or ending.outcome is not Outcome.FAILED:
        return None
    if REASONS[ending.reason].stalls:
        return Finding(ending.reason, ending.message)
    failures, most = observed.tally(stage.name).failures, job.spec.trains.retries.max
    limit = "training.retries.max is" if job.spec.training else "the most for a job that trains nothing is"
    if failures <= most or not ending.settled:
        return None
    tries = f"{failures} {stage.run_noun}{'' if failures == 1 else 's'}"
    return Finding(
        Reason.RETRIES_EXHAUSTED,
        f"{tries} of {stage.name} failed, and {limit} {most}. The last one: {ending.message} "
        "Delete the FineTuneJob and apply it again when the cause is removed; finished work is adopted.",
    )


def _given_back(look: Look, run: Run) -> tuple[Doomed, ...]:
    """The Job of a gang that gives its nodes back, once the status says why: nothing else would."""
    if run.job is None or run.job.deleting or run.ending is None:
        return ()
    told = remembered_tallies(look.job).get(run.stage, Tally()).number >= run.number
    if run.ending.reason is not Reason.GANG_INCOMPLETE or not told:
        return ()
    return (Doomed(kind=Kind.JOB, name=run.job.name, uid=run.job.uid),)


def _pause(stage: Stage, look: Look, unheard: timedelta) -> timedelta:
    """How long the operator has to have known of the latest end before the next run starts.

    Failures double the pause. The first interruption in a row costs none; further ones do, since the cluster
    may refuse every pod, or somebody deletes every Job. A gang that gave its nodes back leaves them to
    others, for a time that differs from job to job. Which of them it was the count says: with its pod gone,
    a run may look otherwise than when it was counted.
    """
    last = look.observed.last_run(stage.name)
    if last is None or last.ending is None or last.ending.outcome is Outcome.SUCCEEDED:
        return unheard
    tally = look.observed.tally(stage.name)
    first = timedelta(seconds=look.settings.retry_backoff_seconds)
    if not tally.interruptions:
        return doubled(first, tally.failures - 1, limit=_LONGEST_PAUSE)
    if last.ending.reason is Reason.GANG_INCOMPLETE:
        share = hashlib.sha256(f"{look.job.metadata.uid}{last.number}".encode()).digest()[0] / 256
        return doubled(first * (1 + share), tally.interruptions - 1, limit=_LONGEST_PAUSE)
    if tally.interruptions < 2:
        return timedelta()
    return doubled(first, tally.interruptions - 2, limit=_LONGEST_PAUSE)
