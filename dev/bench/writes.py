"""Counts what the operator writes for one job of four pods, from its creation until it is trained."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from dev.bench import subject, workload
from dev.bench.audit import Request, count
from dev.bench.burst import wait_for_condition, wait_for_jobs
from dev.bench.figures import Figure
from dev.bench.rig import Rig, rig
from dev.progress import note, step
from kubetune.vocabulary.names import Names

PART: Final = "writes"
BAR: Final = 11
_POD_SECONDS: Final = 12.0
"""Longer than the operator waits for a pod to start: whatever it writes about running pods is written."""


def measure() -> list[Figure]:
    """Run one job with an output claim of its own."""
    with step("One job of four pods"):
        requests = asyncio.run(_one_job())
    counted = count(requests)
    for what, number in counted.items():
        note(f"   {number} {what}")
    told = "; ".join(f"{number} {what}" for what, number in counted.items())
    return [
        Figure(part=PART, name="API writes for a job", value=len(requests), unit="", bar=BAR, note=told),
    ]


async def _one_job() -> list[Request]:
    async with rig(namespaces=1, pod_seconds=_POD_SECONDS) as made:
        operator = made.operator()
        await made.settle()
        start = made.position()
        await run_one(made)
        operator.stop()
        return list(own_writes(made.requests(start=start)))


async def run_one(made: Rig) -> None:
    """Run one job to its end, in the first namespace and with a claim of its own."""
    namespace = made.namespaces[0]
    volume, _ = workload.claim(namespace, name=Names(workload.JOB).output)
    await made.create(volume)
    await made.create(workload.finetunejob(namespace, shared_claim=False))
    await wait_for_condition(made, "Trained", count=1)
    await wait_for_jobs(made, count=2)
    await made.settle()


def own_writes(requests: Iterable[Request]) -> Iterable[Request]:
    """Leave out all but the operator's own writes, Events and its Lease aside."""
    aside = ("events", "leases")
    return (r for r in requests if r.user == subject.USER and r.is_write and r.resource not in aside)
