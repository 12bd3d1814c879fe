"""What the status remembers of training: attempts and the artifact, written and read back. Pure.

A status that is computed from what was read back equals the one that it came from.
"""

from __future__ import annotations

from typing import Any, Final

from kubetune_trainer.contract.messages import ArtifactSummary, CheckpointSummary

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import ArtifactStatus, CheckpointStatus
from ..api.v1alpha1.status import Attempt as AttemptStatus
from ..facts.observed import Ending, Observed, Outcome, Run, RunState
from ..spec.sources import output_claim
from ..vocabulary.names import TRAIN, Names
from ..vocabulary.reasons import Reason

_MESSAGE_LIMIT: Final = 4096
_MOST_ATTEMPTS: Final = 20
"""The oldest are dropped; status.retries goes on counting them."""

_LOST: Final = "Its Job was deleted before it ended."


def fields(job: FineTuneJob, observed: Observed) -> dict[str, Any]:
    """Return status.attempts and artifact."""
    runs = observed.runs_of(TRAIN)[-_MOST_ATTEMPTS:]
    return {"attempts": tuple(_attempt(run) for run in runs) or None, "artifact": _artifact(job, observed)}


def remembered_artifact(job: FineTuneJob) -> ArtifactSummary | None:
    """The verified artifact from the status."""
    artifact = job.status.artifact if job.status else None
    if artifact is None or artifact.uri is None or artifact.digest is None:
        return None
    return ArtifactSummary(
        path=artifact.uri.removeprefix("pvc://").partition("/")[2],
        digest=artifact.digest,
        size_bytes=artifact.size_bytes or 0,
        type=artifact.type or ("Full" if job.spec.trains.adapter.type == "Full" else "LoRA"),
        rank=artifact.rank,
        base_model=artifact.base_model or job.spec.model.uri,
        base_revision=artifact.base_revision or "",
        chat_content=artifact.chat_content,
        generation_config=artifact.generation_config or False,
        step=artifact.step,
        checkpoints=tuple(
            CheckpointSummary(step=kept.step, epoch=kept.epoch or 0) for kept in artifact.checkpoints or ()
        ),
        source_digest=artifact.source_digest,
        warnings=artifact.warnings or (),
    )


def remembered_runs(job: FineTuneJob) -> dict[int, Run]:
    """Return attempts from the status, by number; one that it calls running has lost its Job."""
    attempts = (job.status.attempts or ()) if job.status else ()
    return {attempt.number: _remembered(attempt) for attempt in attempts}


def unended_attempts(job: FineTuneJob) -> set[int]:
    """Numbers of attempts whose end the status does not tell: pods of a Job that is gone may still run."""
    attempts = (job.status.attempts or ()) if job.status else ()
    return {a.number for a in attempts if a.outcome == Outcome.RUNNING or a.message == _LOST}


def _remembered(attempt: AttemptStatus) -> Run:
    final = attempt.message != _LOST and attempt.outcome in (
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
        lost=not final,
    )
    return Run(
        stage=TRAIN,
        number=attempt.number,
        job=None,
        state=RunState.ENDED,
        started=attempt.start_time,
        was_complete=bool(attempt.pods_ready),
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


def _attempt(run: Run) -> AttemptStatus:
    """An ending is written once it is decided: from then on the status is what is remembered."""
    ending = run.ending if run.ending is not None and (run.ending.decided or run.ending.lost) else None
    return AttemptStatus(
        number=run.number,
        pods_ready=run.was_complete or None,
        start_time=run.started,
        completion_time=ending.finished if ending else None,
        from_step=run.from_step if ending else None,
        to_step=run.to_step if ending else None,
        outcome=ending.outcome if ending else Outcome.RUNNING,
        reason=ending.reason if ending else None,
        message=ending.message[:_MESSAGE_LIMIT] if ending else None,
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
        chat_content=artifact.chat_content,
        generation_config=artifact.generation_config or None,
        step=artifact.step,
        checkpoints=tuple(
            CheckpointStatus(
                step=kept.step,
                epoch=kept.epoch,
                model_name=Names(job.metadata.name).checkpoint_model(kept.step),
            )
            for kept in artifact.checkpoints
        )
        or None,
        source_digest=artifact.source_digest,
        warnings=artifact.warnings or None,
    )
