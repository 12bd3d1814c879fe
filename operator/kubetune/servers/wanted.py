"""Which servers a job is to have now, and in which form: those of the evaluation come first. Pure."""

from __future__ import annotations

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.serving import Serving
from ..facts.observed import Observed
from ..vocabulary.names import ROLE_BASELINE, ROLE_CANDIDATE, ROLE_SERVING


def wanted_serving(job: FineTuneJob, observed: Observed, role: str = ROLE_SERVING) -> Serving | None:
    """What the server of a role is to be; None while there is to be none.

    The job's own is there for its evaluation too, as spec.serving says, or with all defaults where only the
    evaluation needs it; a result that did not pass has none. The base of a full fine-tune is asked before
    the result is, so that both never hold GPUs at a time.
    """
    if observed.artifact is None:
        return job.spec.serving if role == ROLE_SERVING else None
    base_first = needs_baseline(job, observed) and not observed.base_answered and observed.evaluation is None
    if role == ROLE_BASELINE:
        return _alone(job) if base_first else None
    if role != ROLE_SERVING or job.spec.evaluation is None:
        return job.spec.serving if role == ROLE_SERVING else None
    if observed.evaluation is not None:
        return job.spec.serving if is_promoted(observed) else None
    return None if base_first else job.spec.serving or Serving()


def needs_baseline(job: FineTuneJob, observed: Observed) -> bool:
    """Whether the base model has no place in the result's own server, and is asked."""
    evaluation, artifact = job.spec.evaluation, observed.artifact
    if evaluation is None or artifact is None or artifact.type != "Full":
        return False
    regression = evaluation.gate.must_not_regress if evaluation.gate else None
    return bool(evaluation.baselines) or regression is not None


def is_promoted(observed: Observed) -> bool:
    """Whether the evaluated result is to be served."""
    found = observed.evaluation
    return found is not None and (found.verdict != "Failed" or observed.override is not None)


def roles_of(job: FineTuneJob) -> tuple[str, ...]:
    """Roles of servers, and of Services to them, that a job may come to have."""
    if job.spec.evaluation is not None:
        return (ROLE_SERVING, ROLE_CANDIDATE, ROLE_BASELINE)
    return (ROLE_SERVING,) if job.spec.serving is not None else ()


def _alone(job: FineTuneJob) -> Serving:
    """The same server, once: as many replicas answer no question better."""
    serving = job.spec.serving or Serving()
    return serving.model_copy(update={"replicas": 1})
