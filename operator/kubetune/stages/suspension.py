"""What to say of a run whose Job is suspended: whoever suspended it resumes it. Pure."""

from __future__ import annotations

from ..facts.observed import Run
from ..vocabulary.reasons import Finding, Reason


def suspended(run: Run) -> Finding:
    """Say that a run waits for whoever suspended its Job."""
    name = run.job.name if run.job is not None else ""
    return Finding(
        Reason.SUSPENDED,
        f"Job {name} is suspended, by a queue such as Kueue or by hand: no pod of it runs. It goes on where "
        "it was when its spec.suspend is false.",
    )
