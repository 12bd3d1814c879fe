"""What the status remembers of an evaluation, written and read back. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from kubetune_trainer.contract.evaluation import (
    CandidateSummary,
    EvaluateSummary,
    EvaluationPlan,
    Override,
)
from kubetune_trainer.contract.messages import PrepareSummary

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.evaluation_status import (
    CandidateStatus,
    EvaluationPlanStatus,
    EvaluationStatus,
    OverrideStatus,
)
from ..facts import termination
from ..facts.observed import Observed
from ..spec.sources import output_claim
from ..vocabulary.names import PROMOTE


def fields(job: FineTuneJob, observed: Observed) -> dict[str, Any]:
    """Return status.evaluation."""
    found = observed.evaluation
    if found is None:
        return {"evaluation": EvaluationStatus(base_answered=True) if observed.base_answered else None}
    decision = observed.override
    return {
        "evaluation": EvaluationStatus(
            artifact=found.artifact,
            metric=found.metric,
            rows=found.rows,
            candidates=tuple(_candidate(candidate) for candidate in found.candidates),
            verdict=found.verdict,
            message=found.said,
            report_uri=f"pvc://{output_claim(job)}/{found.report}",
            tokens_saved_per_request=found.tokens_saved_per_request or None,
            warnings=found.warnings or None,
            override=None
            if decision is None or not is_written(job, observed)
            else OverrideStatus(**decision.model_dump()),
        )
    }


def remembered(job: FineTuneJob, digest: str | None) -> EvaluateSummary | None:
    """What an evaluation of the artifact with this digest found, by the status."""
    known = job.status.evaluation if job.status else None
    if known is None or digest is None or known.artifact != digest:
        return None
    try:
        return EvaluateSummary(
            artifact=known.artifact,
            metric=known.metric or "",
            rows=known.rows or 0,
            candidates=tuple(CandidateSummary.model_validate(c.model_dump()) for c in known.candidates or ()),
            verdict=known.verdict or "Measured",
            said=known.message or "",
            report=(known.report_uri or "").removeprefix("pvc://").partition("/")[2],
            tokens_saved_per_request=known.tokens_saved_per_request or 0,
            warnings=known.warnings or (),
        )
    except ValidationError:  # of an operator of another version
        return None


def remembered_base_answered(job: FineTuneJob) -> bool:
    """Whether the status says that the base was asked."""
    return bool(job.status and job.status.evaluation and job.status.evaluation.base_answered)


def remembered_override(job: FineTuneJob) -> Override | None:
    """The decision of a person that the status knows."""
    known = job.status.evaluation.override if job.status and job.status.evaluation else None
    if known is None or known.by is None or known.reason is None:
        return None
    return Override(by=known.by, reason=known.reason, time=known.time)


def plan_of(prepared: PrepareSummary | None) -> EvaluationPlanStatus | None:
    """Return status.plan.evaluation: what prepare found of it."""
    found = prepared.evaluation if prepared else None
    if found is None:
        return None
    return EvaluationPlanStatus(
        rows=found.rows,
        prompt_tokens=found.prompt_tokens or None,
        detectable_difference=found.detectable_difference,
        tokens_saved_per_request=found.tokens_saved_per_request or None,
        break_even_requests=found.break_even_requests,
    )


def remembered_plan(known: EvaluationPlanStatus | None) -> EvaluationPlan | None:
    """What prepare found of the evaluation, by the status."""
    if known is None:
        return None
    return EvaluationPlan(
        rows=known.rows or 0,
        prompt_tokens=known.prompt_tokens or {},
        detectable_difference=known.detectable_difference,
        tokens_saved_per_request=known.tokens_saved_per_request or 0,
        break_even_requests=known.break_even_requests,
    )


def is_written(job: FineTuneJob, observed: Observed) -> bool:
    """Whether a person's decision stands in report and model card, as a run said or the status knows."""
    if observed.override is None or remembered_override(job) == observed.override:
        return observed.override is not None
    run = observed.last_run(PROMOTE)
    found = termination.evaluate_summary(run.said) if run is not None and run.succeeded else None
    return found is not None and found.override == observed.override


def _candidate(candidate: CandidateSummary) -> CandidateStatus:
    return CandidateStatus.model_validate(candidate.model_dump())
