"""Stage evaluate: the result, by its own server before that is public, and baselines answer the same."""

from __future__ import annotations

from typing import Any, Final

from typing_extensions import override

from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.evaluation import EvaluateSummary

from ..api.v1alpha1 import FineTuneJob
from ..facts import termination
from ..facts.observed import Observed, Run
from ..facts.runs import with_summary
from ..spec.settings import JobSettings
from ..vocabulary import names
from ..vocabulary.names import ROLE_CANDIDATE, ROLE_SERVING
from ..vocabulary.reasons import ConditionType, Finding, Reason
from . import evaluate_status
from .asking import Asking


class _Evaluate(Asking):
    name = names.EVALUATE
    condition = ConditionType.EVALUATED
    role = ROLE_SERVING
    service = ROLE_CANDIDATE
    asked = "the result"

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return job.spec.evaluation is not None

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        return observed.evaluation is not None

    @override
    def doing(self, job: FineTuneJob) -> str:
        evaluation = job.spec.evaluation
        baselines = [baseline.type for baseline in evaluation.baselines] if evaluation else []
        compared = f", and is compared with {' and '.join(baselines)}" if baselines else ""
        return f"The result answers the evaluation's questions{compared}"

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        found = observed.evaluation
        if found is None:
            return None
        scores = ", ".join(f"{c.name} {c.score} ({c.low} to {c.high})" for c in found.candidates)
        return Finding(Reason.COMPLETED, f"{found.metric} of {found.rows} questions: {scores}.")

    @override
    def checked(self, run: Run) -> Run:
        return with_summary(run, summary_of(run))

    @override
    def status(
        self, job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
    ) -> dict[str, Any]:
        return evaluate_status.fields(job, observed)


EVALUATE: Final = _Evaluate()


def summary_of(run: Run) -> EvaluateSummary | None:
    """What a run of the evaluator found; None when it did not succeed or its message is lost."""
    return termination.evaluate_summary(run.said) if run.succeeded else None
