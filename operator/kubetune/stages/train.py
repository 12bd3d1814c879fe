"""Stage train: attempts of a gang of pods, one after another, each from the last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from typing_extensions import override

from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.messages import ArtifactSummary

from ..api.v1alpha1 import FineTuneJob
from ..children.training import build_training
from ..facts import termination
from ..facts.observed import Observed, Run, RunState
from ..facts.runs import failed_after_all
from ..spec.settings import JobSettings
from ..vocabulary import names
from ..vocabulary.periods import PROGRESS_PERIOD
from ..vocabulary.reasons import ConditionType, Finding, Reason
from ..vocabulary.sentences import APPLY_AGAIN, sentences
from . import train_status
from .plan import Plan
from .retries import next_run
from .stage import Look, Stage
from .suspension import suspended
from .train_warnings import warnings_of

WITHOUT_ARTIFACT: Final = "The pods completed, but left no verified artifact on the output volume."


class _Train(Stage):
    name = names.TRAIN
    condition = ConditionType.TRAINED
    run_noun = "attempt"
    more_memory = (
        f"Raise the memory in training.resources, or use GPUs with more; {APPLY_AGAIN}: it goes on from the "
        "last checkpoint. A smaller dataset.maxLength or training.adapter.rank needs less, but "
        "trains from the beginning; so do more GPUs or a larger training.deepspeed.zeroStage, "
        "which need another training.seed once there are checkpoints."
    )

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return job.spec.training is not None

    @override
    def gpus_per_pod(self, job: FineTuneJob, observed: Observed) -> int:
        return job.spec.trains.gpus_per_node

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        return observed.artifact is not None

    @override
    def plan(self, look: Look) -> Plan:
        job, config, settings = look.job, look.config, look.settings
        return next_run(
            self,
            look,
            lambda number: build_training(job, config, settings, number=number),
            period=PROGRESS_PERIOD,
        )

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        run, nodes = observed.last_run(self.name), job.spec.trains.nodes
        pods = "1 pod" if nodes == 1 else f"{nodes} pods"
        if run is None:
            return Finding(Reason.TRAINING, f"Attempt 1 starts on {pods}.")
        if run.ending is not None:
            return Finding(Reason.RETRYING, f"Attempt {run.number + 1} follows. {run.ending.message}")
        if run.state is RunState.SUSPENDED:
            return suspended(run)
        up = run.job.ready + run.job.succeeded if run.job else 0
        does = "starts" if observed.progress is None else "runs"
        if up < nodes:
            are = "is" if nodes == 1 else "are"
            return Finding(Reason.TRAINING, f"Attempt {run.number} {does}: {up} of {pods} {are} ready.")
        warnings = warnings_of(job, observed.progress) if observed.progress else ()
        return Finding(
            Reason.TRAINING_DEGRADED if warnings else Reason.TRAINING,
            sentences(f"Attempt {run.number} runs on {pods}.", *warnings),
        )

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        if observed.artifact is None:
            return None
        if any(run.succeeded for run in observed.runs_of(self.name)):
            step = observed.artifact.step
            which = "" if step is None else f", with the lowest validation loss, of step {step},"
            return Finding(Reason.COMPLETED, f"A verified result{which} is on the output volume.")
        return Finding(
            Reason.ARTIFACT_ADOPTED,
            "The output volume held the verified result of an equal run: nothing was trained.",
        )

    @override
    def remembered_runs(self, job: FineTuneJob) -> Mapping[int, Run]:
        return train_status.remembered_runs(job)

    @override
    def checked(self, run: Run) -> Run:
        summary = termination.train_summary(run.said)
        if summary is not None:
            run = replace(
                run, from_step=summary.from_step, to_step=summary.to_step, progress=summary.progress
            )
        if run.succeeded and run.pod and (summary is None or summary.artifact is None):
            return failed_after_all(run, WITHOUT_ARTIFACT)
        return run

    @override
    def status(
        self, job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
    ) -> dict[str, Any]:
        return train_status.fields(job, observed)


TRAIN: Final = _Train()


def artifact_of(runs: Sequence[Run]) -> ArtifactSummary | None:
    """The artifact that the newest attempt reported."""
    for run in reversed(runs):
        if run.succeeded:
            summary = termination.train_summary(run.said)
            if summary is not None and summary.artifact is not None:
                return summary.artifact
    return None
