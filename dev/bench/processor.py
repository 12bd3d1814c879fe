"""The operator's own processor time for a job: with everything, and without prepare and serving."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dev.bench.burst import gated_job, wait_for_condition, wait_for_jobs
from dev.bench.client import for_each
from dev.bench.figures import Figure
from dev.bench.rig import Rig, rig
from dev.bench.subject import Subject
from dev.progress import step

PART: Final = "cpu"
WITH_EVERYTHING: Final = 30
TRAINING_ONLY: Final = 20


def measure(*, jobs: int, gate: float, profile: Path | None = None) -> list[Figure]:
    """Run half of the namespaces' jobs without serving, then the other half with it."""
    with step(f"{jobs} jobs without serving, then {jobs} with it"):
        training, everything = asyncio.run(_run(jobs, gate, profile))
    local = "servers are asked on this machine"
    return [
        Figure(
            part=PART,
            name="operator CPU for a job with prepare and serving",
            value=everything,
            unit="ms",
            bar=WITH_EVERYTHING,
            note=local,
        ),
        Figure(
            part=PART,
            name="operator CPU for a job from the end of prepare to Trained",
            value=training,
            unit="ms",
            bar=TRAINING_ONLY,
        ),
    ]


async def _run(jobs: int, gate: float, profile: Path | None) -> tuple[float, float]:
    async with rig(namespaces=2 * jobs) as made:
        operator = made.operator(profile=profile)
        await made.settle()
        opens = datetime.now(UTC) + timedelta(seconds=gate)
        await for_each(made.namespaces[:jobs], lambda name: made.create(gated_job(name, opens)))
        await asyncio.sleep((opens - datetime.now(UTC)).total_seconds() - 0.2)
        before = operator.cpu
        await wait_for_condition(made, "Trained", count=jobs)
        await wait_for_jobs(made, count=2 * jobs)
        await made.settle()
        training = operator.cpu - before
        everything = await _with_serving(made, operator, jobs)
        operator.stop()
        return 1000 * training / jobs, 1000 * everything / jobs


async def _with_serving(made: Rig, operator: Subject, jobs: int) -> float:
    before = operator.cpu
    soon = datetime.now(UTC)
    await for_each(made.namespaces[jobs:], lambda name: made.create(gated_job(name, soon, serving=True)))
    await wait_for_condition(made, "Ready", count=2 * jobs)
    await made.settle()
    return operator.cpu - before
