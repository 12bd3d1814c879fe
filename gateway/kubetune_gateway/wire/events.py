"""Events of a job on the wire. Source: as of jobs."""

from __future__ import annotations

from typing import Any, Literal

from .jobs import Wire


class Event(Wire):
    """Something that happened to a job."""

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    id: str
    created_at: int
    """Unix seconds."""
    level: Literal["info", "warn", "error"] = "info"
    message: str
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] = {}
    """Of metrics: step, total_steps, train_loss and so on; those that were not measured are left out."""
