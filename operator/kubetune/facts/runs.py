"""Runs of one stage: judged by their Jobs and pods, remembered where those are gone, and counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..vocabulary.reasons import Reason
from .endings import end_of
from .observed import Ending, Held, Known, Outcome, Run, RunState, Tally
from .termination import message
from .views import TERMINAL_PHASES, JobView, PodView


def judge(job: JobView, pods: Sequence[PodView], *, known: Known, more_memory: str) -> Run:
    """Judge one run by its Job and by those of its pods that have ended."""
    firsts = [pod for pod in pods if not pod.index and pod.phase in TERMINAL_PHASES]
    first = min(firsts, key=lambda pod: (pod.phase != "Succeeded", pod.released, pod.name), default=None)
    told = message(first.termination) if first else None
    ending = end_of(job, pods, more_memory=more_memory)
    succeeded = ending is not None and ending.outcome is Outcome.SUCCEEDED
    complete = succeeded or job.uid in known.complete or job.has_all_pods
    if ending is not None and ending.reason is Reason.PEER_LOST and not complete and job.completions > 1:
        ending = replace(ending, outcome=Outcome.PREEMPTED, reason=Reason.GANG_INCOMPLETE)
    if ending is None and job.uid in known.overdue:
        ending = _gives_back(job)
    return Run(
        stage=job.stage or "",
        number=job.number,
        job=job,
        state=_state(job, ending),
        ending=ending,
        started=job.created,
        was_complete=complete,
        pod=first.name if first else None,
        said=first.termination if first else "",
        held=_held(job, pods),
        to_step=told.step if told else None,
    )


def with_remembered(runs: Iterable[Run], remembered: Mapping[int, Run]) -> tuple[Run, ...]:
    """Runs by their Jobs and by what the status says; a verdict that was written stands."""
    found = dict(remembered)
    for run in runs:
        before = found.get(run.number)
        if before is not None and before.ending is not None and before.ending.decided:
            settled = run.ending is not None and run.ending.settled
            ending = replace(before.ending, settled=settled)
            run = replace(before, job=run.job, pod=run.pod, said=run.said, held=run.held, ending=ending)
        elif before is not None and before.was_complete:
            run = replace(run, was_complete=True)
        found[run.number] = run
    return tuple(found[number] for number in sorted(found))


def count(runs: Sequence[Run], before: Tally, *, decided: bool = False) -> Tally:
    """Add the runs that have ended to what was counted before; ``decided``: only those that stay so."""
    tally = before
    for run in runs:
        if run.number <= tally.number:
            continue
        if run.ending is None or (decided and not run.ending.decided):
            break
        failed = run.ending.outcome is Outcome.FAILED
        interrupted = run.ending.outcome is Outcome.PREEMPTED
        tally = Tally(
            number=run.number,
            failures=tally.failures + failed,
            interruptions=tally.interruptions + 1 if interrupted else 0,
        )
    return tally


def failed_after_all(run: Run, why: str) -> Run:
    """Turn a success into a failure: what it should have left is not there."""
    if run.ending is None:
        return run
    ending = replace(run.ending, outcome=Outcome.FAILED, reason=Reason.POD_FAILED, message=why)
    return replace(run, ending=ending)


def with_summary(run: Run, summary: object | None) -> Run:
    """Turn the success of a pod that should have said what it found, and has not, into a failure."""
    if not run.succeeded or not run.pod or summary is not None:
        return run
    why = f"Pod {run.pod} completed without a summary; trainer image and operator may not fit together."
    return failed_after_all(run, why)


def _held(job: JobView, pods: Sequence[PodView]) -> Held:
    """Add up the ended pods; a run that was suspended may have had more than are seen of it."""
    spans = [pod.finished - pod.started for pod in pods if pod.started and pod.finished]
    alone = len({pod.index or 0 for pod in pods}) == len(pods) >= max(job.completions, 1)
    return Held(
        seconds=sum(max(0, int(span.total_seconds())) for span in spans),
        whole=alone and len(spans) == len(pods),
    )


def _state(job: JobView, ending: Ending | None) -> RunState:
    if ending is not None:
        return RunState.ENDED
    if job.suspended:
        return RunState.SUSPENDED
    return RunState.RUNNING if job.has_all_pods else RunState.PENDING


def _gives_back(job: JobView) -> Ending:
    text = (
        f"Some pods of Job {job.name} held nodes for too long while others found none. They give them "
        "back, and the next attempt starts when there is room."
    )
    return Ending(
        outcome=Outcome.PREEMPTED,
        reason=Reason.GANG_INCOMPLETE,
        message=text,
        finished=None,
        settled=False,
    )
