"""The FineTuneJob's status, computed anew from what is observed. Pure: the same input gives an equal dict."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubetune_trainer.config import TrainerConfig

from .api.v1alpha1 import FineTuneJob
from .errors import SpecError
from .observe import Observed


def compute_status(
    job: FineTuneJob,
    observed: Observed,
    config: TrainerConfig | None,
    *,
    now: datetime,
    error: SpecError | None = None,
) -> dict[str, Any]:
    """Compute the whole status as JSON; ``config`` is None only together with ``error``.

    A key of the old status that the new one lacks has to be removed (null in a merge patch).
    """
    raise NotImplementedError
