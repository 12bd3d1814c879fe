"""status.progress: how far training is, written no more often than people can read it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubetune_trainer.contract.messages import Progress

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import ProgressStatus
from ..facts.observed import Observed, Run
from ..stages.train_warnings import warnings_of
from ..vocabulary.names import TRAIN
from ..vocabulary.periods import PROGRESS_PERIOD

_WARNINGS: Final = 20
_ALIKE: Final = (
    "step",
    "total_steps",
    "epoch",
    "loss",
    "validation_loss",
    "tokens_per_second",
    "trained_tokens",
    "last_checkpoint_step",
    "memory_peak_bytes",
    "best_step",
    "transport",
)
"""Fields that have one name in the trainer's progress and in the status."""


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
    remaining = new.remaining_seconds
    return ProgressStatus(
        **_measured(new),
        estimated_completion_time=None if remaining is None else now + timedelta(seconds=remaining),
        warnings=warnings_of(job, new)[:_WARNINGS] or None,
        update_time=now,
    )


def _measured(new: Progress) -> dict[str, Any]:
    """What rank 0 says, under the names of the status."""
    saved_at = new.last_checkpoint_time
    return {
        "summary": f"{new.step}/{new.total_steps}",
        "last_checkpoint_time": None if saved_at is None else datetime.fromtimestamp(saved_at, UTC),
        **{name: getattr(new, name) for name in _ALIKE},
    }


def _final_progress(observed: Observed, last: Run, old: ProgressStatus | None) -> ProgressStatus | None:
    """Where the attempt ended; what it did not say stays as it was told last."""
    total = observed.prepared.plan.total_steps if observed.prepared else (old.total_steps if old else None)
    if last.to_step is None or total is None:
        return old
    found: dict[str, Any] = _measured(last.progress) if last.progress else {}
    if observed.artifact:
        kept = {"loss": observed.artifact.train_loss, "validation_loss": observed.artifact.validation_loss}
        found |= {name: value for name, value in kept.items() if value is not None}
    return (old or ProgressStatus()).model_copy(
        update={
            **{name: value for name, value in found.items() if value is not None},
            "summary": f"{last.to_step}/{total}",
            "step": last.to_step,
            "total_steps": total,
            "estimated_completion_time": None,
            "update_time": last.ending.finished if last.ending else None,
        }
    )
