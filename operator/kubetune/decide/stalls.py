"""Why nothing goes on with a job before a person changes something. Pure."""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed
from ..stages.retries import exhausted
from ..stages.table import STAGES, Stages, stage_at_hand
from ..vocabulary.reasons import Finding, Reason


def stall_of(job: FineTuneJob, observed: Observed, stages: Stages = STAGES) -> Finding | None:
    """Say why the job is stalled; None when it is not."""
    if observed.conflicts:
        taken = " and ".join(f"{kind} {name}" for kind, name in observed.conflicts)
        does, it = ("do", "them") if len(observed.conflicts) > 1 else ("does", "it")
        return Finding(
            Reason.NAME_CONFLICT,
            f"{taken} {does} not belong to this FineTuneJob, which leaves {it} alone; delete {it}, or make a "
            "FineTuneJob with another name.",
        )
    if observed.diagnosis is not None and observed.diagnosis.stalled:
        return Finding(observed.diagnosis.reason, observed.diagnosis.message)
    stage = stage_at_hand(job, observed, stages)
    if stage is None:
        return None
    return stage.refusal(job, observed) or exhausted(stage, observed, job=job)
