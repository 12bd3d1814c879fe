"""Conditions of a FineTuneJob: what holds, why not yet, and what a person has to do.

Pure. Compatible with kstatus: Reconciling and Stalled are there only when they are True, a stage's condition
only when the spec asks for the stage, or something of it is left. A cause stands once, in Stalled or
Reconciling; the other conditions point to it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from ..api.conditions import Condition, ConditionStatus, new_condition
from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed
from ..stages.stage import Stage
from ..stages.table import STAGES, Stages
from ..vocabulary.errors import SpecError
from ..vocabulary.reasons import ConditionType, Finding, Reason
from ..vocabulary.sentences import sentences
from .stalls import stall_of

_MOST_NAMED: Final = 3
"""Of the objects that are waited for."""


def conditions_of(
    job: FineTuneJob,
    observed: Observed,
    *,
    at_hand: Stage | None,
    left: Stage | None,
    now: datetime,
    error: SpecError | None,
    stages: Stages = STAGES,
) -> list[Condition]:
    """All conditions, as if each had changed now.

    ``at_hand`` is the stage at hand, ``left`` one that is not wanted and has something left to delete.
    """
    stall = stall_of(job, observed, stages)
    if error is not None:
        stall = Finding(Reason.INVALID_SPEC, str(error))
    current = stall or _current(job, observed, at_hand or left)
    found: list[tuple[str, ConditionStatus, Finding]] = []
    if current is None:
        found.append((ConditionType.READY, "True", _noted(_done(job, observed, stages), observed)))
    else:
        cause = ConditionType.STALLED if stall else ConditionType.RECONCILING
        found.append((ConditionType.READY, *_not_ready(current, cause, at_hand, stalled=stall is not None)))
        found.append((cause, "True", _noted(current, observed)))
    passed: Stage | None = None
    for stage in (stage for stage in stages if stage.wanted(job) or stage.leftovers(job, observed)):
        holds = stage.holds(job, observed)
        if holds is not None:
            found.append((stage.condition, "True", holds))
        elif passed is not None:
            waits = Finding(Reason.WAITING, f"Waits for {passed.condition}.")
            found.append((stage.condition, "False", waits))
        else:
            found.append((stage.condition, "False", _not_reached(stage, observed, current, stall)))
        passed = stage if stage is at_hand else passed
    generation = job.metadata.generation
    return [
        new_condition(kind, truth, reason=said.reason, message=said.message, generation=generation, now=now)
        for kind, truth, said in found
    ]


def _current(job: FineTuneJob, observed: Observed, stage: Stage | None) -> Finding | None:
    """What goes on; None when everything that the spec asks for is reached, and nothing else is left."""
    if observed.earlier:
        return _waiting_for(observed)
    return None if stage is None else stage.obstacle(job, observed) or stage.ongoing(job, observed)


def _done(job: FineTuneJob, observed: Observed, stages: Stages) -> Finding:
    """What holds when all stages are reached: the reason is the last one's."""
    last = [stage for stage in stages if stage.wanted(job)][-1]
    holds = last.holds(job, observed)
    reason = Reason.COMPLETED if holds is None or holds.reason is Reason.ARTIFACT_ADOPTED else holds.reason
    return Finding(reason, f"All that the spec asks for is reached: {last.condition} says what holds.")


def _not_ready(
    current: Finding, cause: ConditionType, at_hand: Stage | None, *, stalled: bool
) -> tuple[ConditionStatus, Finding]:
    """Why the job is not ready, in short: the reason is the cause's."""
    waits = f"{at_hand.condition} is not reached" if at_hand else "Everything is reached but this"
    says = "what is wrong and what to do" if stalled else "what goes on"
    said = Finding(current.reason, f"{waits}: {cause} says {says}.")
    return ("Unknown" if current.reason is Reason.PREPARING else "False"), said


def _not_reached(stage: Stage, observed: Observed, current: Finding | None, stall: Finding | None) -> Finding:
    """The stage at hand points to the cause; while it is tried again its reason is how the last run ended."""
    cause = ConditionType.STALLED if stall else ConditionType.RECONCILING
    reason = current.reason if current else Reason.WAITING
    last = observed.last_run(stage.name)
    if stall is None and reason is Reason.RETRYING and last is not None and last.ending is not None:
        reason = last.ending.reason
    return Finding(reason, f"See {cause}.")


def _noted(said: Finding, observed: Observed) -> Finding:
    """With what was done to children, which keeps no reason from being told."""
    return Finding(said.reason, sentences(said.message, *observed.notes)) if observed.notes else said


def _waiting_for(observed: Observed) -> Finding:
    """What keeps new pods from starting, by name: two runs must not write to one directory."""
    earlier = observed.earlier
    keeps = "If it lasts, delete what is left, or see which finalizer or lost node keeps it."
    more = len(earlier) - _MOST_NAMED
    named = ", ".join(earlier[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    are = "are" if len(earlier) > 1 else "is"
    return Finding(
        Reason.WAITING_FOR_EARLIER_PODS,
        f"{named} {are} left from an earlier FineTuneJob of this name or a Job that was deleted, and must be "
        f"gone before anything starts.{'' if observed.notes else f' {keeps}'}",
    )
