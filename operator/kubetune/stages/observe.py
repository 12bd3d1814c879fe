"""A job's children as the cluster has them, turned into what decisions read (``Observed``). Pure.

The status of the FineTuneJob is used as memory only for what the cluster forgets: summaries of pods that are
gone, earlier runs, and how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubetune_trainer.contract.messages import Progress

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Diagnosis, Known, Observed, Run, RunState, Server, Tally
from ..facts.ownership import Family, sort_by_owner
from ..facts.runs import count, failed_after_all, judge, with_remembered
from ..facts.views import DeploymentView, JobView, Kind, View
from ..vocabulary import names
from . import evaluate, evaluate_status, prepare, train, train_status
from .retry_status import remembered_tallies
from .stage import Stage
from .table import STAGES, Stages


def observe(
    job: FineTuneJob,
    children: Sequence[View],
    *,
    diagnosis: Diagnosis | None,
    progress: Progress | None,
    known: Known = Known(),  # noqa: B008 - frozen
    stages: Stages = STAGES,
) -> Observed:
    """Turn children into what is known about the job.

    ``children``: everything that carries the job's label, foreign objects that were found under a child's
    name, and pods: those that have ended, as far as they were ever seen, and, before the first pod of a job
    or after one of its Jobs vanished, also those that still run (pods of no Job of ours keep new ones from
    starting).
    """
    family = sort_by_owner(job, children, stages=[stage.name for stage in stages])
    runs = {stage.name: _runs(stage, job, family, known) for stage in stages}
    before = remembered_tallies(job)
    last = runs[names.PREPARE][-1] if runs[names.PREPARE] else None
    found = prepare.found_by(job, last)
    artifact = (
        train.artifact_of(runs[names.TRAIN])
        or (found.artifact if found else None)
        or train_status.remembered_artifact(job)
    )
    if artifact is None and prepare.has_lost_its_volume(job, last, family.present):
        found = None
    if artifact is None and _has_lost_its_message(runs[names.TRAIN]):
        # Prepare adopts the artifact from the volume when it runs again.
        attempt = runs[names.TRAIN][-1]
        looked = last is not None and prepare.summary_of(last) is not None and _is_after(last, attempt)
        found = found if looked else None
        if looked:
            runs[names.TRAIN] = (*runs[names.TRAIN][:-1], failed_after_all(attempt, train.WITHOUT_ARTIFACT))
    digest = artifact.digest if artifact else None
    judged = filter(None, map(evaluate.summary_of, reversed(runs.get(names.EVALUATE, ()))))
    evaluation = next((found for found in judged if found.artifact == digest), None)
    asked = any(run.succeeded for run in runs.get(names.BASELINE, ()))
    return Observed(
        present=family.present,
        conflicts=tuple(sorted(family.conflicts)),
        earlier=family.earlier,
        runs=runs,
        tallies={stage: count(of, before.get(stage, Tally())) for stage, of in runs.items()},
        prepared=found,
        artifact=artifact,
        base_answered=asked or evaluate_status.remembered_base_answered(job),
        evaluation=evaluation or evaluate_status.remembered(job, digest),
        servers=_servers(job, family),
        diagnosis=diagnosis,
        progress=progress if any(_is_under_way(of) for of in runs.values()) else None,
    )


def _runs(stage: Stage, job: FineTuneJob, family: Family, known: Known) -> tuple[Run, ...]:
    jobs = (v for v in family.present.values() if isinstance(v, JobView) and v.stage == stage.name)
    advice = stage.advice_on_memory(job)
    judged = (judge(v, family.pods[v.uid], known=known, more_memory=advice) for v in jobs)
    return with_remembered((stage.checked(run) for run in judged), stage.remembered_runs(job))


def _servers(job: FineTuneJob, family: Family) -> dict[str, Server]:
    own = names.Names(job.metadata.name)
    found = {role: family.present.get((Kind.DEPLOYMENT, own.server(role))) for role in names.ROLES}
    return {
        role: Server(role=role, deployment=view)
        for role, view in found.items()
        if isinstance(view, DeploymentView)
    }


def _is_under_way(runs: Sequence[Run]) -> bool:
    return bool(runs) and runs[-1].state in (RunState.RUNNING, RunState.PENDING)


def _has_lost_its_message(attempts: Sequence[Run]) -> bool:
    return bool(attempts) and attempts[-1].succeeded


def _is_after(run: Run, attempt: Run) -> bool:
    """Whether a run of prepare was made after an attempt, and so after its end: they never run at a time.

    Both times are the API server's.
    """
    return run.started is not None and (attempt.started is None or run.started > attempt.started)
