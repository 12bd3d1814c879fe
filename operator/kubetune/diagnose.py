"""Why something waits: pods that do not start, claims that do not bind, pods that are refused, in sentences.

Pure. Called while a Job has fewer ready pods than it wants or a Deployment is not available; heals by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .observed import Diagnosis
from .views import Raw


def diagnose(
    *,
    stage: str,
    pods: Sequence[Raw],
    events: Mapping[str, Sequence[Raw]],
    claim: Raw | None,
    claim_events: Sequence[Raw],
    job_events: Sequence[Raw],
) -> Diagnosis | None:
    """Find the most telling reason; None when nothing is wrong.

    ``events`` are those of the pods, by pod name; ``claim`` is the output claim or None when it does not exist;
    ``job_events`` are those of the Job or, in the stage ``serve``, of the Deployment's ReplicaSets.
    """
    raise NotImplementedError
