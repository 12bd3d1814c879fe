"""status.progress: how far training is, written no more often than people can read it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from kubetune_trainer.contract.messages import Progress

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import ProgressStatus
from ..facts.observed import Observed, Run
from ..stages.train_warnings import warnings_of
from ..vocabulary.names import TRAIN
from ..vocabulary.periods import PROGRESS_PERIOD

_WARNINGS: Final = 20


def progress_of(
    job: FineTuneJob, observed: Observed, old: ProgressStatus | None, *, now: datetime, unhurried: bool
) -> ProgressStatus | None:
    """Progress, unless the old one is recent and nothing else has to be written."""
    last = observed.last_run(TRAIN)
    if last is not None and last.succeeded:
        return _final_progress(observed, last, old)
    new = observed.progress
    if new is None or (old is not None and (old.step, old.total_steps) == (new.step, new.total_steps)):
        return old
    recent = old is not None and old.update_time is not None and now - old.update_time < PROGRESS_PERIOD
    return old if recent and unhurried else _running_progress(job, new, now=now)


def _running_progress(job: FineTuneJob, new: Progress, *, now: datetime) -> ProgressStatus:
    now = now.replace(microsecond=0)
    remaining, saved_at = new.remaining_seconds, new.last_checkpoint_time
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
        last_checkpoint_time=None if saved_at is None else datetime.fromtimestamp(saved_at, UTC),
        memory_peak_bytes=new.memory_peak_bytes,
        best_step=new.best_step,
        transport=new.transport,
        warnings=warnings_of(job, new)[:_WARNINGS] or None,
        update_time=now,
    )


def _final_progress(observed: Observed, last: Run, old: ProgressStatus | None) -> ProgressStatus | None:
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
