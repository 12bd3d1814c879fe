"""The FineTuneJob's status, computed anew from what is observed. Pure: the same input gives an equal dict.

``memory`` is the inverse of this for what the cluster forgets. Times come from the cluster, from the old
status or from ``now``; ``now`` alone never changes a status.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from kubetune_trainer.config import TrainerConfig
from kubetune_trainer.messages import Progress

from ..api.conditions import merge_conditions
from ..api.v1alpha1 import FineTuneJob, Status
from ..api.v1alpha1.status import (
    ArtifactStatus,
    ContainerResources,
    DatasetStatus,
    ModelStatus,
    PlanImages,
    PlanResources,
    PlanStatus,
    ProgressStatus,
    ServingStatus,
    TokensPerRow,
)
from ..api.v1alpha1.status import Attempt as AttemptStatus
from ..facts.endings import STALLING
from ..facts.observed import Attempt, Observed, Outcome
from ..spec.resolve import frozen_settings, serving_image
from ..spec.resources import serving_resources, training_resources
from ..spec.settings import JobSettings
from ..spec.sources import output_claim
from ..vocabulary.errors import SpecError
from ..vocabulary.names import Names
from ..vocabulary.quantities import mebibytes
from ..vocabulary.reasons import MAX_ATTEMPTS_LISTED, PROGRESS_PERIOD
from .conditions import conditions_of

_MESSAGE_LIMIT: Final = 4096
_WARNINGS: Final = 20


def compute_status(
    job: FineTuneJob,
    observed: Observed,
    config: TrainerConfig | None,
    *,
    now: datetime,
    settings: JobSettings | None = None,
    error: SpecError | None = None,
) -> dict[str, Any]:
    """Compute the whole status as JSON; ``config`` is None only together with ``error``.

    ``settings`` are ``frozen_settings(config)``, for callers that have them.

    A key of the old status that the new one lacks has to be removed (null in a merge patch).
    """
    old = job.status or Status()
    status = Status(
        observed_generation=job.metadata.generation,
        conditions=merge_conditions(old.conditions, conditions_of(job, observed, now=now, error=error)),
        model=_model(job, observed),
        dataset=_dataset(observed),
        plan=_plan(job, observed, config, settings or frozen_settings(config)) if config else old.plan,
        progress=old.progress,
        attempts=tuple(_attempt(a) for a in observed.attempts[-MAX_ATTEMPTS_LISTED:]) or None,
        artifact=_artifact(job, observed),
        serving=_serving(job, observed),
    )
    is_new = status != old
    progress = _progress(observed, old.progress, now=now, unhurried=not is_new)
    return status.model_copy(update={"progress": progress}).manifest()


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
        validation_rows=data.validation_rows,
        train_tokens=data.train_tokens,
        tokens_per_row=TokensPerRow(**data.tokens_per_row.model_dump()),
        truncated_rows=data.truncated_rows,
        duplicate_rows=data.duplicate_rows,
        warnings=tuple(text[:_MESSAGE_LIMIT] for text in data.warnings[:_WARNINGS]) or None,
    )


def _plan(job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings) -> PlanStatus:
    """Every default resolved: what runs is shown here, never written to the spec."""
    training = config.training
    found = observed.prepared.plan if observed.prepared else None
    serves = job.spec.serving is not None
    return PlanStatus(
        world_size=training.world_size,
        global_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        total_steps=found.total_steps if found else None,
        memory_per_gpu=mebibytes(found.memory_per_gpu_bytes) if found else None,
        estimated_seconds=found.estimated_seconds if found else None,
        trainable_parameters=found.trainable_parameters if found else None,
        resources=PlanResources(
            training=ContainerResources.model_validate(training_resources(job, settings)),
            serving=ContainerResources.model_validate(serving_resources(job, settings)) if serves else None,
        ),
        images=PlanImages(
            trainer=config.images.trainer, serving=serving_image(job, settings) if serves else None
        ),
    )


def _attempt(attempt: Attempt) -> AttemptStatus:
    """An ending is written once it is final: from then on the status is what is remembered."""
    ending = attempt.ending
    if ending is not None and not ending.settled and ending.reason not in STALLING:
        ending = None
    return AttemptStatus(
        number=attempt.number,
        start_time=attempt.started,
        completion_time=ending.finished if ending else None,
        from_step=attempt.from_step if ending else None,
        to_step=attempt.to_step if ending else None,
        outcome=ending.outcome if ending else Outcome.RUNNING,
        reason=ending.reason if ending else None,
        message=ending.message[:_MESSAGE_LIMIT] if ending else None,
    )


def _progress(
    observed: Observed, old: ProgressStatus | None, *, now: datetime, unhurried: bool
) -> ProgressStatus | None:
    """Progress, unless the old one is recent and nothing else has to be written."""
    last = observed.attempt
    if last is not None and last.ending is not None and last.ending.outcome is Outcome.SUCCEEDED:
        return _final_progress(observed, last, old)
    new = observed.progress
    if new is None or (old is not None and (old.step, old.total_steps) == (new.step, new.total_steps)):
        return old
    recent = old is not None and old.update_time is not None and now - old.update_time < PROGRESS_PERIOD
    return old if recent and unhurried else _running_progress(new, now=now)


def _running_progress(new: Progress, *, now: datetime) -> ProgressStatus:
    now = now.replace(microsecond=0)
    remaining = new.remaining_seconds
    return ProgressStatus(
        summary=f"{new.step}/{new.total_steps}",
        step=new.step,
        total_steps=new.total_steps,
        epoch=new.epoch,
        loss=new.loss,
        validation_loss=new.validation_loss,
        tokens_per_second=new.tokens_per_second,
        trained_tokens=new.trained_tokens,
        estimated_completion_time=None if remaining is None else now + timedelta(seconds=remaining),
        last_checkpoint_step=new.last_checkpoint_step,
        update_time=now,
    )


def _final_progress(observed: Observed, last: Attempt, old: ProgressStatus | None) -> ProgressStatus | None:
    """The last step, which nobody was asked for any more."""
    total = observed.prepared.plan.total_steps if observed.prepared else (old.total_steps if old else None)
    if last.to_step is None or total is None:
        return old
    found = (
        {"loss": observed.artifact.train_loss, "validation_loss": observed.artifact.validation_loss}
        if (observed.artifact)
        else {}
    )
    return (old or ProgressStatus()).model_copy(
        update={
            "summary": f"{last.to_step}/{total}",
            "step": last.to_step,
            "total_steps": total,
            "estimated_completion_time": None,
            "update_time": last.ending.finished if last.ending else None,
            **{name: value for name, value in found.items() if value is not None},
        }
    )


def _artifact(job: FineTuneJob, observed: Observed) -> ArtifactStatus | None:
    artifact = observed.artifact
    if artifact is None:
        return None
    return ArtifactStatus(
        uri=f"pvc://{output_claim(job)}/{artifact.path}",
        digest=artifact.digest,
        size_bytes=artifact.size_bytes,
        type="Full" if artifact.type == "Full" else "LoRA",
        rank=artifact.rank,
        base_model=artifact.base_model,
        base_revision=artifact.base_revision,
    )


def _serving(job: FineTuneJob, observed: Observed) -> ServingStatus | None:
    if job.spec.serving is None or observed.artifact is None:
        return None
    live = observed.deployment
    return ServingStatus(
        model_name=job.metadata.name,
        url=Names(job.metadata.name).url(job.metadata.namespace),
        replicas=live.replicas if live else 0,
        ready_replicas=live.ready if live else 0,
    )
