"""What the status remembers of prepare: model, rows and plan, written from its summary and read back. Pure.

A status that is computed from what was read back equals the one that it came from.
"""

from __future__ import annotations

from typing import Any, Final

from kubetune_trainer.contract.config import TrainerConfig, model_directory
from kubetune_trainer.contract.messages import (
    DatasetSummary,
    ModelSummary,
    PlanSummary,
    PrepareSummary,
    TokensPerRow,
)

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import (
    ContainerResources,
    DatasetStatus,
    ModelStatus,
    OutputStatus,
    PlanImages,
    PlanResources,
    PlanStatus,
)
from ..api.v1alpha1.status import TokensPerRow as TokensPerRowStatus
from ..facts.observed import Observed
from ..facts.views import Kind
from ..spec.resolve import serving_image
from ..spec.resources import evaluator_resources, serving_resources, training_resources
from ..spec.settings import JobSettings
from ..spec.sources import mount_of, named_claim
from ..vocabulary.names import PREPARE, Names
from ..vocabulary.quantities import bytes_of, mebibytes
from . import evaluate_status

_MESSAGE_LIMIT: Final = 4096
_WARNINGS: Final = 20


def fields(
    job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
) -> dict[str, Any]:
    """Return status.model, dataset, plan and output."""
    old = job.status.plan if job.status else None
    return {
        "model": _model(job, observed),
        "dataset": _dataset(observed) if job.spec.dataset is not None else None,
        "plan": _plan(job, observed, config, settings) if config and settings else old,
        "output": _output(job, observed),
    }


def remembered(job: FineTuneJob) -> PrepareSummary | None:
    """Summary of prepare from the status; None when it never got there."""
    status = job.status
    if status is None or status.model is None or status.plan is None:
        return None
    model, plan = status.model, status.plan
    dataset = status.dataset if job.spec.dataset is not None else DatasetStatus(fingerprint="")
    if model.revision is None or dataset is None or dataset.fingerprint is None:
        return None
    if job.spec.training is not None and plan.total_steps is None:
        return None
    tokens = dataset.tokens_per_row
    uri = job.spec.model.uri
    return PrepareSummary(
        model=ModelSummary(
            revision=model.revision,
            path=mount_of(uri, role="model") or str(model_directory(uri, model.revision)),
            architecture=model.architecture or "",
            parameters=model.parameters or 0,
        ),
        dataset=DatasetSummary(
            fingerprint=dataset.fingerprint,
            train_rows=dataset.train_rows or 0,
            validation_rows=dataset.validation_rows or 0,
            train_examples=dataset.train_examples or dataset.train_rows or 0,
            train_tokens=dataset.train_tokens or 0,
            tokens_per_row=TokensPerRow(
                mean=(tokens and tokens.mean) or 0,
                p50=(tokens and tokens.p50) or 0,
                p95=(tokens and tokens.p95) or 0,
                max=(tokens and tokens.max) or 0,
            ),
            truncated_rows=dataset.truncated_rows or 0,
            duplicate_rows=dataset.duplicate_rows or 0,
            leaked_rows=dataset.leaked_rows or 0,
            sha256=dataset.sha256,
            warnings=dataset.warnings or (),
        ),
        plan=PlanSummary(
            total_steps=plan.total_steps or 0,
            trainable_parameters=plan.trainable_parameters or 0,
            memory_per_gpu_bytes=bytes_of(plan.memory_per_gpu or "0"),
            estimated_seconds=plan.estimated_seconds or 0,
            serving_gpus=plan.serving_gpus or 0,
        ),
        evaluation=evaluate_status.remembered_plan(plan.evaluation),
    )


def remembered_output(job: FineTuneJob) -> OutputStatus:
    """Return which claim was prepared, and by which run."""
    return (job.status.output if job.status else None) or OutputStatus()


def _output(job: FineTuneJob, observed: Observed) -> OutputStatus | None:
    """The claim that was prepared: another one under its name holds nothing of this job."""
    known = remembered_output(job)
    claim = observed.present.get((Kind.CLAIM, Names(job.metadata.name).output))
    run = observed.last_run(PREPARE)
    if observed.prepared is None or claim is None or named_claim(job) is not None:
        return None if known == OutputStatus() else known
    return OutputStatus(claim_uid=claim.uid, prepared_by=run.number if run else known.prepared_by)


def _model(job: FineTuneJob, observed: Observed) -> ModelStatus:
    uri = job.spec.model.uri
    if observed.prepared is None:
        return (job.status.model if job.status else None) or ModelStatus(uri=uri)
    model = observed.prepared.model
    return ModelStatus(
        uri=uri, revision=model.revision, architecture=model.architecture or None, parameters=model.parameters
    )


def _dataset(observed: Observed) -> DatasetStatus | None:
    if observed.prepared is None:
        return None
    data = observed.prepared.dataset
    return DatasetStatus(
        fingerprint=data.fingerprint,
        train_rows=data.train_rows,
        train_examples=data.train_examples if data.train_examples != data.train_rows else None,
        validation_rows=data.validation_rows,
        train_tokens=data.train_tokens,
        tokens_per_row=TokensPerRowStatus(**data.tokens_per_row.model_dump()),
        truncated_rows=data.truncated_rows,
        duplicate_rows=data.duplicate_rows,
        leaked_rows=data.leaked_rows if data.validation_rows else None,
        sha256=data.sha256,
        warnings=tuple(text[:_MESSAGE_LIMIT] for text in data.warnings[:_WARNINGS]) or None,
    )


def _plan(job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings) -> PlanStatus:
    """Every default resolved: what runs is shown here, never written to the spec."""
    found = observed.prepared.plan if observed.prepared else None
    evaluation, gpus = job.spec.evaluation, found.serving_gpus if found else 0
    serves = job.spec.serving is not None or evaluation is not None
    server = ContainerResources.model_validate(serving_resources(job, settings, gpus)) if serves else None
    trains = job.spec.training is not None
    full = observed.artifact.type == "Full" if observed.artifact else job.spec.trains.adapter.type == "Full"
    return PlanStatus(
        **(_training(config, found) if trains else {}),
        serving_gpus=gpus or None,
        resources=PlanResources(
            training=ContainerResources.model_validate(training_resources(job, settings)) if trains else None,
            serving=server,
            evaluator=ContainerResources.model_validate(evaluator_resources(job, settings))
            if evaluation is not None
            else None,
            baseline=server if evaluation is not None and full else None,
        ),
        evaluation=evaluate_status.plan_of(observed.prepared),
        images=PlanImages(
            trainer=config.images.trainer, serving=serving_image(job, settings) if serves else None
        ),
    )


def _training(config: TrainerConfig, found: PlanSummary | None) -> dict[str, Any]:
    training = config.training
    return {
        "world_size": training.world_size,
        "global_batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "total_steps": found.total_steps if found else None,
        "memory_per_gpu": mebibytes(found.memory_per_gpu_bytes) if found else None,
        "estimated_seconds": found.estimated_seconds if found else None,
        "trainable_parameters": found.trainable_parameters if found else None,
    }
