"""status.usage: what the pods of a job have taken, over all runs of its stages, and what that costs. Pure.

A run that has ended is counted by its pods' own times. While it is on, and for pods whose times nobody saw,
pods count that were ready from one write of the status to the next, by the operator's clock. Only the latest
run is open to correction: when another one follows, it is in the sum for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import RunUsage, StageUsage, UsageStatus
from ..facts.observed import Observed, Run, RunState
from ..servers.rollout import planned_gpus
from ..spec.prices import cost_of
from ..spec.resources import serving_gpus
from ..spec.settings import JobSettings
from ..stages.table import Stages
from .break_even import Taken, break_even


def usage_of(
    job: FineTuneJob,
    observed: Observed,
    old: UsageStatus | None,
    settings: JobSettings,
    *,
    now: datetime | None,
    renew: bool = False,
    stages: Stages,
) -> UsageStatus | None:
    """Bring the usage up to date.

    ``now``: None where nothing else is written; then only what has ended is counted. ``renew``: progress is
    written too, so that a run that is on is told as of now although its pods are as they were.
    """
    before = {entry.stage: entry for entry in old.stages} if old else {}
    entries = []
    for stage in stages:
        known = before.get(stage.name)
        earlier, last = _count(observed.runs_of(stage.name), known, now, renew=renew)
        if last is not None:
            seconds = earlier + last.pod_seconds
            entries.append(
                StageUsage(
                    stage=stage.name,
                    pod_seconds=seconds,
                    gpu_seconds=seconds * stage.gpus_per_pod(job, observed),
                    last_run=last,
                )
            )
    if not entries:
        return None
    prices = settings.prices
    taken = Taken(
        gpu_seconds=sum(entry.gpu_seconds for entry in entries),
        pod_seconds=sum(entry.pod_seconds for entry in entries),
    )
    found = observed.evaluation
    server_gpus = serving_gpus(job, planned_gpus(job, observed))
    pays = None if found is None else break_even(found, taken, prices, server_gpus=server_gpus)
    usage = UsageStatus(stages=tuple(entries), break_even_requests=pays)
    if prices is None:
        return usage
    cost = cost_of(prices, gpu_seconds=taken.gpu_seconds, pod_seconds=taken.pod_seconds)
    return usage.model_copy(update={"cost": cost, "currency": prices.currency})


def _count(
    runs: Iterable[Run], known: StageUsage | None, now: datetime | None, *, renew: bool
) -> tuple[int, RunUsage | None]:
    """Return pod-seconds of all runs before the latest one that is counted, and that one."""
    last = known.last_run if known else None
    earlier = known.pod_seconds - known.last_run.pod_seconds if known else 0
    for run in runs:
        if last is not None and run.number < last.number:
            continue
        same = last is not None and run.number == last.number
        found = _run(run, last if same else None, now, renew=renew)
        if found is None:
            continue
        earlier += last.pod_seconds if last is not None and not same else 0
        last = found
    return earlier, last


def _run(run: Run, known: RunUsage | None, now: datetime | None, *, renew: bool) -> RunUsage | None:
    """What one run has taken; None while there is nothing to tell."""
    if run.ending is None:
        return _under_way(run, known, now, renew=renew)
    seconds = run.held.seconds if run.held.whole else max(_until(known, now), run.held.seconds)
    return RunUsage(number=run.number, pod_seconds=seconds) if known or seconds else None


def _under_way(run: Run, known: RunUsage | None, now: datetime | None, *, renew: bool) -> RunUsage | None:
    """What a run that is on has taken.

    Time alone changes nothing unless ``renew``: with a schema that drops a field every look has news.
    """
    ready = run.job.ready if run.job and run.state is not RunState.SUSPENDED else 0
    told = ready > 0 and renew if known is None else renew or ready != known.pods
    if now is None or not told:
        return known
    return RunUsage(
        number=run.number,
        pod_seconds=_until(known, now),
        pods=ready,
        update_time=now.replace(microsecond=0),
    )


def _until(known: RunUsage | None, now: datetime | None) -> int:
    """Pod-seconds of a run whose pods have stayed ready since the status told of them."""
    if known is None:
        return 0
    if now is None or known.update_time is None:
        return known.pod_seconds
    return known.pod_seconds + (known.pods or 0) * max(0, int((now - known.update_time).total_seconds()))
