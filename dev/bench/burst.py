"""A hundred jobs at once, beside a hundred bare Jobs with the same pods: what an operator costs in time.

Bare: from the Job's creation to its four pods'. KubeTune: from the end of the prepare pod to the same. All
prepare pods end at one moment, so that both meet the same burst.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from dev.bench import kwok, subject, workload
from dev.bench.audit import Request
from dev.bench.client import for_each
from dev.bench.figures import Figure, median, percentile, spread
from dev.bench.rig import Rig, rig
from dev.progress import note, step

PART: Final = "burst"
TO_PODS: Final = 1.2
"""Times the bare Jobs' p95."""

TO_STATUS: Final = 0.5
"""Seconds, p95."""

FINETUNEJOBS: Final = "/apis/kubetune.dev/v1alpha1/finetunejobs"
_JOBS: Final = "/apis/batch/v1/jobs"
_GENEROUS: Final = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One burst."""

    to_pods: Sequence[float]
    """Seconds of each job until all its training pods were created."""
    to_status: Sequence[float]
    """Seconds from the end of a job's last pod until the Job's, or the FineTuneJob's, status says so."""
    api_cpu: float
    """Milliseconds of API server and etcd for each job, prepare included."""
    api_cpu_of_training: float
    """The same without prepare: from the moment on in which its pods end."""
    operator_cpu: float = 0.0
    operator_cpu_of_training: float = 0.0
    operator_writes: float = 0.0
    """For each job, Events aside."""
    late: int = 0
    """Jobs whose prepare pod did not run yet when all should end."""


def measure(*, jobs: int, repeats: int, gate: float, profile: Path | None = None) -> list[Figure]:
    """Run both kinds in turn, each on a fresh control plane."""
    bare, ours = [], []
    for number in range(1, repeats + 1):
        with step(f"Burst of {jobs} bare Jobs, {number} of {repeats}"):
            bare.append(asyncio.run(_bare(jobs)))
        _tell("bare", bare[-1])
        with step(f"Burst of {jobs} FineTuneJobs, {number} of {repeats}"):
            ours.append(asyncio.run(_kubetune(jobs, gate=gate, profile=profile)))
        _tell("kubetune", ours[-1])
    return list(_figures(bare, ours))


async def _bare(jobs: int) -> Run:
    async with rig(namespaces=jobs) as made:
        start, cpu = made.position(), made.api_cpu()
        manifests = [each for name in made.namespaces for each in workload.bare_job(name, annotations=_ENDS)]
        await for_each(manifests, made.create)
        await wait_for_jobs(made, count=jobs)
        cpu = _milliseconds(made.api_cpu() - cpu, jobs)
        requests = by_namespace(made.requests(start=start))
        return Run(
            to_pods=[_bare_to_pods(requests[name]) for name in made.namespaces],
            to_status=[
                last_write(requests[name], resource="jobs/status", prefix="").answered
                - end_of_pods(requests[name], prefix="")
                for name in made.namespaces
            ],
            api_cpu=cpu,
            api_cpu_of_training=cpu,
        )


async def _kubetune(jobs: int, *, gate: float, profile: Path | None) -> Run:
    async with rig(namespaces=jobs) as made:
        operator = made.operator(profile=profile)
        await made.settle()
        start, cpu, own = made.position(), made.api_cpu(), operator.cpu
        opens = datetime.now(UTC) + timedelta(seconds=gate)
        await for_each(made.namespaces, lambda name: made.create(gated_job(name, opens)))
        await asyncio.sleep((opens - datetime.now(UTC)).total_seconds() - 0.2)
        gate_cpu, gate_own = made.api_cpu(), operator.cpu
        await wait_for_condition(made, "Trained", count=jobs)
        await wait_for_jobs(made, count=2 * jobs)
        end_cpu, end_own = made.api_cpu(), operator.cpu
        requests = by_namespace(made.requests(start=start))
        operator.stop()
    found = [requests[name] for name in made.namespaces]
    writes = [r for each in found for r in each if r.user == subject.USER and r.is_write]
    return Run(
        to_pods=[_to_pods(each) for each in found],
        to_status=[to_status(each) for each in found],
        api_cpu=_milliseconds(end_cpu - cpu, jobs),
        api_cpu_of_training=_milliseconds(end_cpu - gate_cpu, jobs),
        operator_cpu=_milliseconds(end_own - own, jobs),
        operator_cpu_of_training=_milliseconds(end_own - gate_own, jobs),
        operator_writes=sum(r.resource != "events" for r in writes) / jobs,
        late=sum(_start_of_prepare(each) > opens.timestamp() for each in found),
    )


def gated_job(namespace: str, opens: datetime, *, serving: bool = False) -> workload.Manifest:
    """Return a FineTuneJob whose prepare pod ends in a given moment."""
    ends = {kwok.ENDS_AT: opens.isoformat().replace("+00:00", "Z")}
    return workload.finetunejob(namespace, serving=serving, annotations=ends)


_ENDS: Final = {kwok.ENDS_AT: datetime(2000, 1, 1, tzinfo=UTC).isoformat()}
"""As large as the annotation of the others, for equal pods; training pods do not heed it."""


def by_namespace(requests: Iterable[Request]) -> Mapping[str, list[Request]]:
    """Sort requests by namespace, which is by job."""
    found: defaultdict[str, list[Request]] = defaultdict(list)
    for request in requests:
        found[request.namespace].append(request)
    return found


async def wait_for_condition(made: Rig, condition: str, *, count: int) -> None:
    """Return when so many FineTuneJobs have a condition."""

    async def reached() -> bool:
        return _count(await made.client.items(FINETUNEJOBS), condition) >= count

    await made.client.until(f"{condition} of {count} FineTuneJobs", reached, seconds=_GENEROUS, period=2)


async def wait_for_jobs(made: Rig, *, count: int) -> None:
    """Return when so many Jobs are complete."""

    async def reached() -> bool:
        return _count(await made.client.items(_JOBS), "Complete") >= count

    await made.client.until(f"{count} Jobs to complete", reached, seconds=_GENEROUS, period=2)


def _count(items: Iterable[Mapping[str, Any]], condition: str) -> int:
    return sum(
        any(
            c["type"] == condition and c["status"] == "True"
            for c in item.get("status", {}).get("conditions", ())
        )
        for item in items
    )


def created_pods(requests: Iterable[Request]) -> list[Request]:
    """Return the creations of pods, in their order."""
    made = [r for r in requests if r.verb == "create" and r.resource == "pods" and r.is_write]
    return sorted(made, key=lambda r: r.answered)


def end_of_pods(requests: Iterable[Request], *, prefix: str) -> float:
    """Return when the last pod with that prefix ended: KWOK writes Running, then the end."""
    return last_write(requests, resource="pods/status", prefix=prefix, user=kwok.USER).answered


def last_write(
    requests: Iterable[Request], *, resource: str, prefix: str, user: str | None = None
) -> Request:
    """Return the last write to a resource."""
    found = [
        r
        for r in requests
        if r.is_write and r.resource == resource and r.name.startswith(prefix) and user in (None, r.user)
    ]
    return max(found, key=lambda r: r.answered)


def to_status(requests: Sequence[Request]) -> float:
    """Seconds from the last training pod's end to the write of the status that says Trained: the last one."""
    told = last_write(requests, resource="finetunejobs/status", prefix="", user=subject.USER)
    return told.answered - end_of_pods(requests, prefix=f"{workload.JOB}-train")


def _bare_to_pods(requests: Sequence[Request]) -> float:
    created = next(r for r in requests if r.verb == "create" and r.resource == "jobs" and r.is_write)
    return created_pods(requests)[workload.PODS - 1].answered - created.received


def _to_pods(requests: Sequence[Request]) -> float:
    # The first pod is prepare's.
    ended = end_of_pods(requests, prefix=f"{workload.JOB}-prepare")
    return created_pods(requests)[workload.PODS].answered - ended


def _start_of_prepare(requests: Sequence[Request]) -> float:
    prefix = f"{workload.JOB}-prepare"
    return min(r.answered for r in requests if r.resource == "pods/status" and r.name.startswith(prefix))


def _milliseconds(seconds: float, jobs: int) -> float:
    return 1000 * seconds / jobs


def _tell(kind: str, run: Run) -> None:
    pods, status = run.to_pods, run.to_status
    note(
        f"   {kind}: all pods p50 {percentile(pods, 0.5):.2f} p95 {percentile(pods, 0.95):.2f} s,"
        f" status p50 {percentile(status, 0.5):.2f} p95 {percentile(status, 0.95):.2f} s,"
        f" API {run.api_cpu:.0f} ({run.api_cpu_of_training:.0f}) ms,"
        f" operator {run.operator_cpu:.1f} ({run.operator_cpu_of_training:.1f}) ms,"
        f" {run.operator_writes:.1f} writes, {run.late} late"
    )


def _figures(bare: Sequence[Run], ours: Sequence[Run]) -> Iterable[Figure]:
    def figure(
        name: str, runs: Sequence[Run], of: Callable[[Run], float], unit: str, bar: float | None = None
    ) -> Figure:
        values = [of(run) for run in runs]
        return Figure(part=PART, name=name, value=median(values), unit=unit, bar=bar, note=spread(values))

    def pods(share: float) -> Callable[[Run], float]:
        return lambda run: percentile(run.to_pods, share)

    def status(run: Run) -> float:
        return percentile(run.to_status, 0.95)

    yield figure("bare: creation to all pods, p50", bare, pods(0.5), "s")
    base = figure("bare: creation to all pods, p95", bare, pods(0.95), "s")
    yield base
    yield figure("KubeTune: end of prepare to all training pods, p50", ours, pods(0.5), "s")
    yield figure(
        "KubeTune: end of prepare to all training pods, p95", ours, pods(0.95), "s", TO_PODS * base.value
    )
    late = [run.late for run in ours]
    if any(late):
        note(f"   Prepare pods that did not run yet when all should end: {late}. Raise --gate.")
    yield figure("bare: last pod to Complete, p95", bare, status, "s")
    yield figure("KubeTune: last training pod to Trained, p95", ours, status, "s", TO_STATUS)
    yield figure("bare: API server and etcd for a job", bare, lambda run: run.api_cpu, "ms")
    yield figure("KubeTune: API server and etcd for a job", ours, lambda run: run.api_cpu, "ms")
    yield figure("KubeTune: the same after prepare", ours, lambda run: run.api_cpu_of_training, "ms")
    yield figure("KubeTune: operator for a job", ours, lambda run: run.operator_cpu, "ms")
    yield figure(
        "KubeTune: operator for a job after prepare", ours, lambda run: run.operator_cpu_of_training, "ms"
    )
