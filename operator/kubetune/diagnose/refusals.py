"""Why the API server does not take a child, in a sentence. Pure."""

from __future__ import annotations

from ..facts.observed import Diagnosis
from ..facts.views import Kind
from ..vocabulary.errors import KubeError
from ..vocabulary.names import run_of
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import ADOPTED, APPLY_AGAIN, sentences, shortened

_INVALID = (400, 422)


def diagnose_refusal(error: KubeError) -> Diagnosis:
    """What to say, and whether it can heal: a quota or a policy may change, an invalid spec does not."""
    stage = _stage(error)
    what = f"{error.kind} {error.name} is refused: {shortened(error.message, limit=600)}"
    if error.status in _INVALID:
        fix = "Correct spec.serving" if stage == "serve" else f"Correct the spec, {APPLY_AGAIN}; {ADOPTED}"
        return Diagnosis(reason=Reason.INVALID_SPEC, message=sentences(what, fix), stage=stage, stalled=True)
    if "exceeded quota" in error.message:
        fix = "Free resources, raise the quota or ask for less"
        return Diagnosis(reason=Reason.QUOTA_EXCEEDED, message=sentences(what, fix), stage=stage)
    fix = "Change the policy, or what it objects to in the spec"
    return Diagnosis(reason=Reason.POD_REJECTED, message=sentences(what, fix), stage=stage)


def _stage(error: KubeError) -> str:
    if error.kind == Kind.DEPLOYMENT:
        return "serve"
    run = run_of(error.name) if error.kind == Kind.JOB else None
    return run[0] if run else "prepare"
