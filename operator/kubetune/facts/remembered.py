"""What only the status still knows: summaries of pods that are gone, and attempts whose Jobs are gone.

Pure. The inverse of ``status`` for those fields: a status computed from memory equals the one it came from.
"""

from __future__ import annotations

from typing import Final

from kubetune_trainer.config import model_directory
from kubetune_trainer.messages import (
    ArtifactSummary,
    DatasetSummary,
    ModelSummary,
    PlanSummary,
    PrepareSummary,
    TokensPerRow,
)

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import Attempt as AttemptStatus
from ..spec.sources import mount_of
from ..vocabulary.quantities import bytes_of
from ..vocabulary.reasons import Reason
from .observed import Attempt, Ending, Outcome

_LOST: Final = "Its Job was deleted before it ended."


def remembered_summary(job: FineTuneJob) -> PrepareSummary | None:
    """Summary of prepare from the status; None when it never got there."""
    status = job.status
    if status is None or status.model is None or status.dataset is None or status.plan is None:
        return None
    model, dataset, plan = status.model, status.dataset, status.plan
    if model.revision is None or dataset.fingerprint is None or plan.total_steps is None:
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
            train_tokens=dataset.train_tokens or 0,
            tokens_per_row=TokensPerRow(
                mean=(tokens and tokens.mean) or 0,
                p50=(tokens and tokens.p50) or 0,
                p95=(tokens and tokens.p95) or 0,
                max=(tokens and tokens.max) or 0,
            ),
            truncated_rows=dataset.truncated_rows or 0,
            duplicate_rows=dataset.duplicate_rows or 0,
            warnings=dataset.warnings or (),
        ),
        plan=PlanSummary(
            total_steps=plan.total_steps,
            trainable_parameters=plan.trainable_parameters or 0,
            memory_per_gpu_bytes=bytes_of(plan.memory_per_gpu or "0"),
            estimated_seconds=plan.estimated_seconds or 0,
        ),
    )


def remembered_artifact(job: FineTuneJob) -> ArtifactSummary | None:
    """The verified artifact from the status."""
    artifact = job.status.artifact if job.status else None
    if artifact is None or artifact.uri is None or artifact.digest is None:
        return None
    return ArtifactSummary(
        path=artifact.uri.removeprefix("pvc://").partition("/")[2],
        digest=artifact.digest,
        size_bytes=artifact.size_bytes or 0,
        type=artifact.type or job.spec.training.adapter.type,
        rank=artifact.rank,
        base_model=artifact.base_model or job.spec.model.uri,
        base_revision=artifact.base_revision or "",
    )


def remembered_attempts(job: FineTuneJob) -> dict[int, Attempt]:
    """Attempts from the status, by number; one that it calls running has lost its Job."""
    attempts = (job.status.attempts or ()) if job.status else ()
    return {attempt.number: _remembered(attempt) for attempt in attempts}


def unended_attempts(job: FineTuneJob) -> set[int]:
    """Numbers of attempts whose end the status does not tell: pods of a Job that is gone may still run."""
    attempts = (job.status.attempts or ()) if job.status else ()
    return {a.number for a in attempts if a.outcome == Outcome.RUNNING or a.message == _LOST}


def is_final(attempt: Attempt) -> bool:
    """Whether the status recorded how the attempt ended."""
    return attempt.ending is not None and attempt.ending.message != _LOST


def _remembered(attempt: AttemptStatus) -> Attempt:
    final = attempt.outcome is not None and attempt.outcome in (
        Outcome.SUCCEEDED,
        Outcome.FAILED,
        Outcome.PREEMPTED,
    )
    ending = Ending(
        outcome=Outcome(attempt.outcome or "") if final else Outcome.PREEMPTED,
        reason=_reason(attempt.reason) if final else Reason.POD_FAILED,
        message=(attempt.message or "") if final else _LOST,
        finished=attempt.completion_time if final else None,
        settled=True,
    )
    return Attempt(
        number=attempt.number,
        job=None,
        started=attempt.start_time,
        from_step=attempt.from_step,
        to_step=attempt.to_step,
        ending=ending,
    )


def _reason(text: str | None) -> Reason:
    """Total: an older operator may have had other reasons."""
    try:
        return Reason(text or "")
    except ValueError:
        return Reason.POD_FAILED
