"""The readable table of stages: what has to be made or removed next, given what is desired and observed.

Pure: no clock (``now`` is passed), no I/O. One child kind per file beside this one.

=========  ============================================================  ===============================
stage      children                                                      begins when
=========  ============================================================  ===============================
prepare    ConfigMap, output claim, headless Service, Job of run 1       at once, all together
train      Job of attempt 1, then of the next                            prepare said what it found
serve      Deployment and public Service                                 a verified artifact exists
=========  ============================================================  ===============================

A child that exists is never posted again. Nothing is ever repeated under the same name: a run of prepare or
an attempt that failed stays, so that the cluster itself remembers how often it was tried.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from kubetune_trainer.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..children.claim import build_claim
from ..children.config_map import build_config_map
from ..children.deployment import build_deployment, has_drifted, intent_of
from ..children.prepare import build_prepare
from ..children.rendezvous import build_rendezvous
from ..children.service import build_service
from ..children.training import build_training
from ..decide.stalls import retry_at, stall_of
from ..facts.observed import Observed
from ..facts.views import Kind, Manifest
from ..spec.settings import JobSettings
from ..spec.sources import named_claim
from ..vocabulary.names import Names
from ..vocabulary.reasons import LOOK_AFTER, PROGRESS_PERIOD
from .plan import Doomed, Plan

__all__ = ["Doomed", "Plan", "plan"]

_EARLIER: Final = timedelta(seconds=3)
"""The garbage collector and the kubelet need seconds for an earlier job's objects and pods."""


def plan(
    job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings, *, now: datetime
) -> Plan:
    """Say what to create, apply and delete now, and when to look again.

    ``config`` and ``settings`` are what the ConfigMap ``<name>-config`` holds, or, before it exists,
    ``resolve(job, settings)`` and the live settings. ``now`` decides only whether the pause before a retry is
    over.
    """
    if job.metadata.deletion_timestamp is not None:
        return Plan()  # owner references do the rest
    if observed.earlier:
        return Plan(requeue_after=_EARLIER)
    if observed.conflicts:
        return Plan(requeue_after=PROGRESS_PERIOD)  # foreign objects are not watched
    if observed.artifact is not None:
        return _serve(job, observed, config, settings)
    if stall_of(job, observed) is not None:
        return _without_serving(job, observed)
    if observed.prepared is None:
        return _prepare(job, observed, config, settings, now=now)
    return _train(job, observed, config, settings, now=now)


def _prepare(
    job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings, *, now: datetime
) -> Plan:
    """What every pod needs, and the first or next run of prepare."""
    base = _foundation(job, observed, config, settings)
    if observed.prepare is not None and observed.prepare_ending is None:
        return Plan(create_once=base)  # its end is heard, and why it waits is found by looks
    number = observed.prepare.attempt + 1 if observed.prepare else 1
    ready = observed.prepare_ending is None or observed.prepare_ending.settled
    manifest = build_prepare(job, config, settings, number=number)
    return _in_time(base, manifest, at=retry_at(observed, settings) if ready else now + LOOK_AFTER, now=now)


def _train(
    job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings, *, now: datetime
) -> Plan:
    """The first or next attempt; two never run at a time."""
    base = _foundation(job, observed, config, settings)
    last = observed.attempt
    if last is not None and last.ending is None:
        return Plan(create_once=base, requeue_after=PROGRESS_PERIOD)
    number = last.number + 1 if last else 1
    ready = last is None or last.ending is None or last.ending.settled
    manifest = build_training(job, config, settings, number=number)
    return _in_time(base, manifest, at=retry_at(observed, settings) if ready else now + LOOK_AFTER, now=now)


def _serve(job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings) -> Plan:
    """Deployment and Service together; removed when the block goes."""
    serving, artifact, live = job.spec.serving, observed.artifact, observed.deployment
    names = Names(job.metadata.name)
    if serving is None or artifact is None:
        return _without_serving(job, observed)
    intent = intent_of(serving, config, artifact)
    changed = live is None or live.intent != intent or has_drifted(live, observed.accepted)
    apply: list[Manifest] = []
    if changed:
        apply.append(build_deployment(job, serving, config, artifact, settings))
    once = [*_configuration(job, observed, config)]
    if (Kind.SERVICE, names.serving) not in observed.present:
        once.append(build_service(job))
    settled = live is not None and min(live.available, live.updated) >= serving.replicas
    return Plan(
        create_once=tuple(once),
        apply=tuple(apply),
        requeue_after=None if settled and not changed else LOOK_AFTER,
    )


def _without_serving(job: FineTuneJob, observed: Observed) -> Plan:
    """What is there of serving although nothing asks for it."""
    if job.spec.serving is not None:
        return Plan()
    name = Names(job.metadata.name).serving
    there = [observed.present.get((kind, name)) for kind in (Kind.DEPLOYMENT, Kind.SERVICE)]
    return Plan(
        delete=tuple(
            Doomed(kind=view.kind, name=view.name, uid=view.uid)
            for view in there
            if view and not view.deleting
        )
    )


def _foundation(
    job: FineTuneJob, observed: Observed, config: TrainerConfig, settings: JobSettings
) -> tuple[Manifest, ...]:
    """Configuration, output claim and headless Service, as far as they are missing."""
    names = Names(job.metadata.name)
    missing = [*_configuration(job, observed, config)]
    if named_claim(job) is None and (Kind.CLAIM, names.output) not in observed.present:
        missing.append(build_claim(job, settings))
    if (Kind.SERVICE, names.rendezvous) not in observed.present:
        missing.append(build_rendezvous(job))
    return tuple(missing)


def _configuration(job: FineTuneJob, observed: Observed, config: TrainerConfig) -> tuple[Manifest, ...]:
    """The ConfigMap, when it is missing; what is there is not built, since this is asked at every look."""
    if (Kind.CONFIG_MAP, Names(job.metadata.name).config) in observed.present:
        return ()
    return (build_config_map(job, config),)


def _in_time(base: tuple[Manifest, ...], manifest: Manifest, *, at: datetime | None, now: datetime) -> Plan:
    """Create the Job now, or look again when its pause is over."""
    if at is not None and at > now:
        return Plan(create_once=base, requeue_after=at - now)
    return Plan(create_once=(*base, manifest), requeue_after=LOOK_AFTER)
