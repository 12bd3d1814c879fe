"""What the status remembers of ended runs: how many of each stage failed or were interrupted. Pure."""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import RetryStatus
from ..facts.observed import Observed, Tally
from ..facts.runs import count


def remembered_tallies(job: FineTuneJob) -> dict[str, Tally]:
    """Return what the status counted, by stage."""
    retries = (job.status.retries or ()) if job.status else ()
    return {
        r.stage: Tally(number=r.number, failures=r.failures, interruptions=r.interruptions) for r in retries
    }


def retries_of(job: FineTuneJob, observed: Observed) -> tuple[RetryStatus, ...] | None:
    """Count runs whose verdict stands, for good, where any of them failed or was interrupted.

    What was counted once stays: a run whose pod is gone may look otherwise when it is counted again.
    """
    before = remembered_tallies(job)
    tallies = {
        stage: count(runs, before.get(stage, Tally()), decided=True) for stage, runs in observed.runs.items()
    }
    told = tuple(
        RetryStatus(
            stage=stage, number=tally.number, failures=tally.failures, interruptions=tally.interruptions
        )
        for stage, tally in tallies.items()
        if tally.failures or tally.interruptions or stage in before
    )
    return told or None
