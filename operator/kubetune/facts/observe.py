"""Pure: a job's children as the cluster has them, turned into what decisions read (``Observed``).

No clock, no I/O. The status of the FineTuneJob is used as memory only for what the cluster forgets: summaries
of pods that are gone, and earlier attempts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubetune_trainer.messages import ArtifactSummary, PrepareSummary, Progress

from ..api.v1alpha1 import FineTuneJob
from ..spec.sources import named_claim
from ..vocabulary.names import Names
from ..vocabulary.reasons import Reason
from . import termination as told
from .endings import end_of
from .observed import Attempt, Diagnosis, Ending, Observed, Outcome
from .remembered import is_final, remembered_artifact, remembered_attempts, remembered_summary
from .views import BareView, DeploymentView, JobView, Kind, PodView, View

__all__ = ["Attempt", "Diagnosis", "Ending", "Observed", "Outcome", "observe"]

_ENDED = ("Succeeded", "Failed")


def observe(
    job: FineTuneJob,
    children: Sequence[View],
    *,
    diagnosis: Diagnosis | None,
    answered: bool,
    progress: Progress | None,
) -> Observed:
    """Turn children into what is known about the job.

    ``children``: everything that carries the job's label, foreign objects that were found under a child's
    name, and pods: those that have ended, as far as they were ever seen, and, before the first pod of a job
    or after one of its Jobs vanished, also those that still run (pods of no Job of ours keep new ones from
    starting).
    """
    present, conflicts, earlier = _sort_by_owner(job, children)
    jobs = [child for child in present.values() if isinstance(child, JobView)]
    pods = {
        view.uid: [c for c in children if isinstance(c, PodView) and c.owner_uid == view.uid] for view in jobs
    }
    strays = (c for c in children if isinstance(c, PodView) and c.owner_uid not in pods)
    earlier += [
        f"Pod {pod.name}" for pod in strays if pod.stage in ("prepare", "train") and pod.phase not in _ENDED
    ]

    runs = [(run, *_run_of_prepare(run, pods[run.uid])) for run in _of_stage(jobs, "prepare")]
    prepare, prepare_ending, summary = runs[-1] if runs else (None, None, None)
    attempts, artifacts = _attempts(job, _of_stage(jobs, "train"), pods)
    runs_again = prepare is not None and prepare_ending is None
    prepared = summary or (None if runs_again else remembered_summary(job))
    artifact = (
        next(iter(artifacts), None) or (summary.artifact if summary else None) or remembered_artifact(job)
    )
    if artifact is None and _has_lost_its_volume(job, present, prepare_ending):
        prepared = None  # what it said is true of nothing any more

    last = attempts[-1] if attempts else None
    if artifact is None and last and last.ending and last.ending.outcome is Outcome.SUCCEEDED:
        # Its message is lost. Prepare adopts the artifact from the volume when it runs again.
        looked = prepare is not None and summary is not None and _is_after(prepare, last)
        prepared = summary if looked else None
        if looked:
            attempts[-1] = replace(last, ending=_without_artifact(last.ending))

    deployment = present.get((Kind.DEPLOYMENT, job.metadata.name))
    return Observed(
        present=present,
        conflicts=tuple(sorted(conflicts)),
        earlier=tuple(sorted(earlier)),
        prepare=prepare,
        prepare_ending=prepare_ending,
        prepare_failures=sum(end is not None and end.outcome is Outcome.FAILED for _, end, _ in runs),
        prepare_preempted=preempted_in_a_row([end for _, end, _ in runs]),
        prepared=prepared,
        attempts=tuple(attempts),
        artifact=artifact,
        deployment=deployment if isinstance(deployment, DeploymentView) else None,
        answered=answered,
        diagnosis=diagnosis,
        progress=progress if attempts and attempts[-1].ending is None else None,
    )


def preempted_in_a_row(endings: Sequence[Ending | None]) -> int:
    """How many of the latest tries were preempted, one after another."""
    row = 0
    for ending in reversed(endings):
        if ending is None or ending.outcome is not Outcome.PREEMPTED:
            break
        row += 1
    return row


def _sort_by_owner(
    job: FineTuneJob, children: Sequence[View]
) -> tuple[dict[tuple[Kind, str], View], set[tuple[Kind, str]], list[str]]:
    """Ours, foreign objects under the names of children, and what an earlier FineTuneJob has left."""
    names = Names(job.metadata.name)
    present: dict[tuple[Kind, str], View] = {}
    conflicts: set[tuple[Kind, str]] = set()
    earlier: list[str] = []
    for child in children:
        if isinstance(child, PodView) or not _is_named_like_a_child(job, names, child):
            continue
        labelled = child.finetunejob == names.job
        kept = child.kind is Kind.CLAIM and labelled and child.owner_uid is None  # whenDeleted: Retain
        if child.owner_uid == job.metadata.uid or kept:
            present[child.kind, child.name] = child
        elif labelled and child.owner_uid is not None:
            earlier.append(f"{child.kind} {child.name}")
        else:
            conflicts.add((child.kind, child.name))
    return present, conflicts, earlier


def _has_lost_its_volume(
    job: FineTuneJob, present: Mapping[tuple[Kind, str], View], prepare: Ending | None
) -> bool:
    """Whether the output claim that we make is not there, or younger than what prepare wrote."""
    if named_claim(job) is not None:
        return False
    claim = present.get((Kind.CLAIM, Names(job.metadata.name).output))
    if not isinstance(claim, BareView):
        return True
    written = prepare.finished if prepare is not None else None
    return written is not None and claim.created is not None and claim.created > written


def _is_named_like_a_child(job: FineTuneJob, names: Names, child: View) -> bool:
    """Other objects may carry our label; only names that we need matter, and what we own."""
    if child.owner_uid == job.metadata.uid:
        return True
    own_claim = named_claim(job) is None
    serves = job.spec.serving is not None
    by_kind = {
        Kind.CONFIG_MAP: child.name == names.config,
        Kind.CLAIM: own_claim and child.name == names.output,
        Kind.SERVICE: child.name == names.rendezvous or (serves and child.name == names.serving),
        Kind.DEPLOYMENT: serves and child.name == names.serving,
        Kind.JOB: re.fullmatch(rf"{re.escape(names.job)}-(prepare|prepare-\d+|train-\d+)", child.name)
        is not None,
    }
    return by_kind.get(child.kind, False)


def _of_stage(jobs: Sequence[JobView], stage: str) -> list[JobView]:
    return sorted((view for view in jobs if view.stage == stage), key=lambda view: view.attempt)


def _run_of_prepare(run: JobView, pods: Sequence[PodView]) -> tuple[Ending | None, PrepareSummary | None]:
    """How a run of prepare ended, and what it said."""
    ending = end_of(run, pods)
    if ending is None or ending.outcome is not Outcome.SUCCEEDED:
        return ending, None
    pod = next((pod for pod in pods if pod.phase == "Succeeded"), None)
    summary = told.prepare_summary(pod.termination) if pod else None
    if pod is not None and summary is None:
        message = (
            f"Pod {pod.name} completed without a summary; trainer image and operator may not fit together."
        )
        ending = replace(ending, outcome=Outcome.FAILED, reason=Reason.POD_FAILED, message=message)
    return ending, summary


def _attempts(
    job: FineTuneJob, jobs: Sequence[JobView], pods: dict[str, list[PodView]]
) -> tuple[list[Attempt], list[ArtifactSummary]]:
    """All attempts in order, and the artifacts that they reported, the newest first."""
    found = remembered_attempts(job)
    artifacts: list[ArtifactSummary] = []
    for view in jobs:
        attempt, artifact = _attempt(view, pods[view.uid])
        before = found.get(view.attempt)
        if before is not None and before.ending is not None and is_final(before):
            # The verdict stands, even when the pods that it came from are gone.
            settled = attempt.ending is not None and attempt.ending.settled
            attempt = replace(before, job=view, ending=replace(before.ending, settled=settled))
        found[view.attempt] = attempt
        artifacts[:0] = [artifact] if artifact else []
    return [found[number] for number in sorted(found)], artifacts


def _attempt(view: JobView, pods: Sequence[PodView]) -> tuple[Attempt, ArtifactSummary | None]:
    ending = end_of(view, pods)
    first = next((pod for pod in pods if not pod.index and pod.phase in _ENDED), None)
    summary = told.train_summary(first.termination) if first else None
    said = told.message(first.termination) if first else None
    artifact = summary.artifact if summary else None
    if ending and ending.outcome is Outcome.SUCCEEDED and first is not None and artifact is None:
        ending = _without_artifact(ending)
    attempt = Attempt(
        number=view.attempt,
        job=view,
        started=view.started or view.created,
        from_step=summary.from_step if summary else None,
        to_step=summary.to_step if summary else (said.step if said else None),
        ending=ending,
    )
    return attempt, artifact if ending and ending.outcome is Outcome.SUCCEEDED else None


def _without_artifact(ending: Ending) -> Ending:
    message = "The pods completed, but left no verified artifact on the output volume."
    return replace(ending, outcome=Outcome.FAILED, reason=Reason.POD_FAILED, message=message)


def _is_after(run: JobView, attempt: Attempt) -> bool:
    """Whether a run of prepare began after the attempt had ended."""
    ended = (attempt.ending.finished if attempt.ending else None) or attempt.started
    return run.created is not None and (ended is None or run.created >= ended)
