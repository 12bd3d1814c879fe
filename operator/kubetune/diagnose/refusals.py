"""Why the API server does not take a child, in a sentence. Pure."""

from __future__ import annotations

from ..facts.observed import Diagnosis
from ..facts.views import Kind
from ..vocabulary.errors import Invalid, Rejected
from ..vocabulary.names import PREPARE, SERVE, TRAIN, run_of
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import ADOPTED, APPLY_AGAIN, sentences, shortened


def is_quota(error: Rejected) -> bool:
    """Whether a quota refuses it, which has room again as soon as somebody else needs less."""
    return "exceeded quota" in error.message


def diagnose_refusal(error: Rejected) -> Diagnosis:
    """What to say, and whether it can heal: a quota or a policy may change, an invalid spec does not."""
    stage = _stage(error)
    what = f"{error.kind} {error.name} is refused: {shortened(error.message, limit=600)}"
    if isinstance(error, Invalid):
        fix = "Correct spec.serving" if stage == SERVE else f"Correct the spec, {APPLY_AGAIN}; {ADOPTED}"
        return Diagnosis(reason=Reason.INVALID_SPEC, message=sentences(what, fix), stage=stage, stalled=True)
    if is_quota(error):
        fix = "Free resources, raise the quota or ask for less"
        return Diagnosis(reason=Reason.QUOTA_EXCEEDED, message=sentences(what, fix), stage=stage)
    fix = "Change the policy, or what it objects to in the spec"
    return Diagnosis(reason=Reason.POD_REJECTED, message=sentences(what, fix), stage=stage)


def _stage(error: Rejected) -> str:
    if error.kind == Kind.DEPLOYMENT:
        return SERVE
    if error.kind == Kind.SERVICE:
        return PREPARE if error.name.endswith(f"-{TRAIN}") else SERVE  # no job's own name ends so
    run = run_of(error.name) if error.kind == Kind.JOB else None
    return run[0] if run else PREPARE
