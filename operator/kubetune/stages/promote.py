"""Stage promote: whether the evaluated result may be served, by the gate or by a person against it."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ..api.v1alpha1 import FineTuneJob
from ..children.evaluate import build_evaluation
from ..facts.observed import Observed
from ..servers.rollout import server_children
from ..servers.wanted import is_promoted
from ..spec.sources import output_claim
from ..vocabulary import names
from ..vocabulary.names import ANNOTATION_PROMOTE, ROLES
from ..vocabulary.reasons import ConditionType, Finding, Reason
from ..vocabulary.sentences import ADOPTED, APPLY_AGAIN, sentences
from . import evaluate_status
from .plan import Plan, doomed
from .retries import next_run
from .stage import Look, Stage


class _Promote(Stage):
    name = names.PROMOTE
    condition = ConditionType.PROMOTED

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return job.spec.evaluation is not None

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        """Against the gate only once the decision stands in report and model card."""
        found = observed.evaluation
        if found is None or not is_promoted(observed):
            return False
        return found.verdict != "Failed" or evaluate_status.is_written(job, observed)

    @override
    def plan(self, look: Look) -> Plan:
        """What did not pass gives its server up; a person's decision is written down."""
        job, observed, artifact, decision = (
            look.job,
            look.observed,
            look.observed.artifact,
            look.observed.override,
        )
        if decision is None or artifact is None:
            return Plan(delete=doomed(server_children(job, observed, *ROLES)))
        return next_run(
            self,
            look,
            lambda number: build_evaluation(
                job, look.config, look.settings, artifact, stage=self.name, number=number, override=decision
            ),
        )

    @override
    def refusal(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        found = observed.evaluation
        if found is None or is_promoted(observed):
            return None
        return Finding(
            Reason.GATE_FAILED,
            sentences(
                found.said,
                f"The result is kept and not served: pvc://{output_claim(job)}/{found.report}/report.html "
                "shows where it falls short",
                f"Change rows, training or evaluation ({APPLY_AGAIN}; {ADOPTED}), or serve it all the same: "
                f'`kubectl annotate ftj {job.metadata.name} {ANNOTATION_PROMOTE}="why"`',
            ),
        )

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        decision = observed.override
        who = "" if decision is None else f" of {decision.by}"
        return Finding(
            Reason.EVALUATING,
            f"The decision{who} to serve the result is written into report and model card first.",
        )

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        found, decision = observed.evaluation, observed.override
        if found is None or not self.reached(job, observed):
            return None
        if found.verdict == "Measured":
            return Finding(Reason.NOT_GATED, sentences(found.said, "The spec has no evaluation.gate"))
        if found.verdict == "Passed" or decision is None:
            return Finding(Reason.GATE_PASSED, found.said)
        when = f" at {decision.time}" if decision.time else ""
        return Finding(
            Reason.GATE_OVERRIDDEN,
            sentences(f"Served by the decision of {decision.by}{when}: {decision.reason}", found.said),
        )


PROMOTE: Final = _Promote()
