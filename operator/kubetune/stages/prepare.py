"""Stage prepare: model and data are fetched, checked and tokenised before a GPU is held."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from typing_extensions import override

from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.messages import PrepareSummary

from ..api.v1alpha1 import FineTuneJob
from ..children.prepare import build_prepare
from ..facts import termination
from ..facts.observed import Observed, Outcome, Run, RunState
from ..facts.runs import with_summary
from ..facts.views import Kind, View
from ..spec.settings import JobSettings
from ..spec.sources import named_claim
from ..vocabulary import names
from ..vocabulary.periods import LOOK_AFTER
from ..vocabulary.reasons import ConditionType, Finding, Reason
from ..vocabulary.sentences import APPLY_AGAIN
from . import prepare_status
from .plan import Plan
from .retries import next_run
from .stage import Look, Stage
from .suspension import suspended


class _Prepare(Stage):
    name = names.PREPARE
    condition = ConditionType.PREPARED
    more_memory = f"Raise limits.memory in training.resources, which prepare has too, {APPLY_AGAIN}."

    @override
    def advice_on_memory(self, job: FineTuneJob) -> str:
        if job.spec.training is not None:
            return self.more_memory
        merged = "or the merged model, whose weights are read in parts"
        return f"Adopt an adapter in 16 bits, {merged}; {APPLY_AGAIN}."

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        return observed.prepared is not None or observed.artifact is not None

    @override
    def plan(self, look: Look) -> Plan:
        job, config, settings = look.job, look.config, look.settings
        ended = any(run.ending for runs in look.observed.runs.values() for run in runs)
        return next_run(
            self,
            look,
            lambda number: build_prepare(job, config, settings, number=number),
            unheard=LOOK_AFTER if ended else timedelta(),
            after=prepare_status.remembered_output(job).prepared_by or 0,
        )

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        run = observed.last_run(self.name)
        if run is not None and run.ending is not None and run.ending.outcome is not Outcome.SUCCEEDED:
            return Finding(Reason.RETRYING, f"Prepare runs again. {run.ending.message}")
        if run is not None and run.state is RunState.SUSPENDED:
            return suspended(run)
        if job.spec.artifact is not None:
            return Finding(Reason.PREPARING, "Model and artifact are fetched and checked.")
        return Finding(Reason.PREPARING, "Model and data are fetched, checked and tokenised.")

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        if not self.reached(job, observed):
            return None
        if job.spec.artifact is not None:
            kind = "model" if observed.artifact and observed.artifact.type == "Full" else "adapter"
            return Finding(
                Reason.COMPLETED, f"The {kind} in {job.spec.artifact.uri} was verified: nothing was trained."
            )
        if observed.prepared is None:
            return Finding(Reason.COMPLETED, "Model and data were checked.")
        data, steps = observed.prepared.dataset, observed.prepared.plan.total_steps
        several = f" as {data.train_examples} examples" if data.train_examples != data.train_rows else ""
        return Finding(Reason.COMPLETED, f"{data.train_rows} rows{several} to train on in {steps} steps.")

    @override
    def checked(self, run: Run) -> Run:
        return with_summary(run, summary_of(run))

    @override
    def status(
        self, job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
    ) -> dict[str, Any]:
        return prepare_status.fields(job, observed, config, settings)


PREPARE: Final = _Prepare()


def summary_of(run: Run) -> PrepareSummary | None:
    """What a run of prepare found; None when it did not succeed or its message is lost."""
    return termination.prepare_summary(run.said) if run.succeeded else None


def found_by(job: FineTuneJob, run: Run | None) -> PrepareSummary | None:
    """What prepare found, by its latest run, else by the status; None while it runs or has found nothing."""
    if run is None:
        return prepare_status.remembered(job)
    return summary_of(run) or (None if run.ending is None else prepare_status.remembered(job))


def has_lost_its_volume(job: FineTuneJob, run: Run | None, present: Mapping[tuple[Kind, str], View]) -> bool:
    """Whether the output claim that we make is not there, or younger than the latest run of prepare.

    What that said is then true of nothing any more.
    """
    if named_claim(job) is not None:
        return False
    claim = present.get((Kind.CLAIM, names.Names(job.metadata.name).output))
    known = prepare_status.remembered_output(job)
    if claim is None:
        return True
    replaced = known.claim_uid is not None and known.claim_uid != claim.uid
    return replaced and (run.number if run else 0) <= (known.prepared_by or 0)
