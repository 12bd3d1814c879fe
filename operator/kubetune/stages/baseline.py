"""Stage baseline: the base of a full fine-tune answers the evaluation's questions, by a server of its own.

It goes before the result's own server comes: at no time does the evaluation hold the GPUs of two.
"""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed
from ..servers.wanted import needs_baseline
from ..vocabulary import names
from ..vocabulary.names import ROLE_BASELINE
from ..vocabulary.reasons import ConditionType, Finding, Reason
from .asking import Asking


class _Baseline(Asking):
    name = names.BASELINE
    condition = ConditionType.BASE_ANSWERED
    role = ROLE_BASELINE
    service = ROLE_BASELINE
    asked = "the base model"

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        if job.spec.evaluation is None:
            return False
        if job.spec.training is not None:
            return job.spec.training.adapter.type == "Full"
        known = job.status.artifact if job.status else None  # what is adopted prepare has to see first
        return known is not None and known.type == "Full"

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        done = observed.base_answered or observed.evaluation is not None
        return observed.artifact is not None and (done or not needs_baseline(job, observed))

    @override
    def doing(self, job: FineTuneJob) -> str:
        return "The base model answers the evaluation's questions, before the result does"

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        if not self.reached(job, observed):
            return None
        return Finding(Reason.COMPLETED, "The base model has answered the evaluation's questions.")


BASELINE: Final = _Baseline()
