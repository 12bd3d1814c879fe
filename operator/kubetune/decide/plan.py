"""What to create, apply and delete for a job now, by the stage at hand, and when to look again. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kubetune_trainer.contract.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed
from ..spec.platform_policy import PlatformPolicy
from ..spec.settings import JobSettings
from ..stages.isolation import isolation
from ..stages.plan import Plan
from ..stages.stage import Look
from ..stages.table import STAGES, Stages, stage_at_hand
from ..vocabulary.periods import PROGRESS_PERIOD
from .stalls import stall_of

_EARLIER: Final = timedelta(seconds=3)
"""The garbage collector and the kubelet need seconds for an earlier job's objects and pods."""


def plan(
    job: FineTuneJob,
    observed: Observed,
    config: TrainerConfig,
    settings: JobSettings,
    *,
    policy: PlatformPolicy = PlatformPolicy(),  # noqa: B008 - frozen
    stages: Stages = STAGES,
) -> Plan:
    """Say what to create, apply and delete now, and when to look again.

    ``config`` and ``settings`` are what the ConfigMap ``<name>-config`` holds, or, before it exists,
    ``resolve(job, settings)`` and the live settings; ``policy`` is the live one.
    """
    if job.metadata.deletion_timestamp is not None:
        return Plan()  # owner references do the rest
    if observed.earlier:
        return Plan(requeue_after=_EARLIER)
    if observed.conflicts:
        return Plan(requeue_after=PROGRESS_PERIOD)  # foreign objects are not watched
    stalled = stall_of(job, observed, stages) is not None
    look = Look(job=job, observed=observed, config=config, settings=settings, stalled=stalled)
    at_hand = stage_at_hand(job, observed, stages)
    wanted = [stage for stage in stages if stage.wanted(job)]
    doomed = [child for stage in stages if stage not in wanted for child in stage.leftovers(job, observed)]
    todo = at_hand.plan(look) if at_hand else wanted[-1].upkeep(look)
    todo = todo.joined(isolation(job, observed, policy.network_policies))
    return Plan(
        create_once=todo.create_once,
        apply=todo.apply,
        delete=(*todo.delete, *doomed),
        requeue_after=todo.requeue_after,
    )
