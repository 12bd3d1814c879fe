"""Checkpoints of a job on the wire. Source: as of jobs."""

from __future__ import annotations

from typing import Literal

from .jobs import Wire


class JobCheckpoint(Wire):
    """Weights of a job that can be asked as a model."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    id: str
    created_at: int
    """Unix seconds."""
    fine_tuned_model_checkpoint: str
    """The model's id."""
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]
    """What was measured at this step, and the step; what was not is left out."""
