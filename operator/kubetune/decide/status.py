"""The FineTuneJob's status, computed anew from what is observed. Pure: the same input gives an equal dict.

Each stage writes its own fields. Times come from the cluster, from the old status or from ``now``; ``now``
alone never changes a status.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubetune_trainer.contract.config import TrainerConfig

from ..api.conditions import merge_conditions
from ..api.v1alpha1 import FineTuneJob, Status
from ..facts.observed import Observed
from ..spec.resolve import frozen_settings
from ..spec.settings import JobSettings
from ..stages.retry_status import retries_of
from ..stages.table import STAGES, Stages, left_over, stage_at_hand
from ..vocabulary.errors import SpecError
from ..vocabulary.names import DONE
from .abstract import with_abstract
from .conditions import conditions_of
from .progress import progress_of
from .usage import usage_of


def compute_status(
    job: FineTuneJob,
    observed: Observed,
    config: TrainerConfig | None,
    *,
    now: datetime,
    settings: JobSettings | None = None,
    error: SpecError | None = None,
    stages: Stages = STAGES,
) -> dict[str, Any]:
    """Compute the whole status as JSON; ``config`` is None only together with ``error``.

    ``settings`` are ``frozen_settings(config)``, for callers that have them.

    A key of the old status that the new one lacks has to be removed (null in a merge patch).
    """
    old = job.status or Status()
    if config is not None and settings is None:
        settings = frozen_settings(config)
    fields: dict[str, Any] = {"usage": old.usage}
    if settings is not None:
        fields["usage"] = usage_of(job, observed, old.usage, settings, now=None, stages=stages)
    for each in stages:
        fields |= each.status(job, observed, config, settings)
    at_hand, left = stage_at_hand(job, observed, stages), left_over(job, observed, stages)
    conditions = conditions_of(job, observed, at_hand=at_hand, left=left, now=now, error=error, stages=stages)
    stage = at_hand or left
    status = Status(
        abstract=old.abstract,
        stage=stage.name if stage else DONE,
        observed_generation=job.metadata.generation,
        conditions=merge_conditions(old.conditions, conditions),
        progress=old.progress,
        retries=retries_of(job, observed),
        **fields,
    )
    is_new = status != old
    progress = progress_of(job, observed, old.progress, now=now, unhurried=not is_new)
    usage = status.usage
    renew = progress != old.progress
    if settings is not None and (is_new or renew):
        usage = usage_of(job, observed, old.usage, settings, now=now, renew=renew, stages=stages)
    return with_abstract(status.model_copy(update={"progress": progress, "usage": usage}).manifest())
