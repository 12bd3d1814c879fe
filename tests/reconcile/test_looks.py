"""Looking at what waits: found within seconds, gone when it heals, and never a load on the API server."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, finetunejob, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object


def _unschedulable(kube: MemoryKube, pod: Object) -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    kube.change(pod, {"status": {"conditions": [condition]}})


def _condition(kube: MemoryKube, type_: str) -> dict[str, Any]:
    raw = kube.find("FineTuneJob", "job")
    assert raw
    return next((c for c in raw["status"]["conditions"] if c["type"] == type_), {})


def test_why_a_pod_waits_is_said_within_seconds_and_forgotten_when_it_runs() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, ready_after=300)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: list(kube.of_kind("Pod")))
        _unschedulable(kube, next(kube.of_kind("Pod")))
        await asyncio.sleep(15)
        assert _condition(kube, "Prepared")["reason"] == "Unschedulable"
        assert "Insufficient nvidia.com/gpu" in _condition(kube, "Prepared")["message"]
        writes = len(kube.writes)
        await asyncio.sleep(200)
        assert len(kube.writes) == writes
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        await operator.stop()

    virtual_time.run(main())


def test_a_full_cluster_makes_no_storm_of_looks() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, ready_after=1e6)
        operator = Operator(kube=kube)
        await operator.start()
        for number in range(60):
            kube.add(finetunejob(f"job-{number}"))
        await asyncio.sleep(120)
        looks = [r for r in kube.requests if r.verb == "list" and r.kind == "Pod" and "stage" in r.name]
        assert 60 <= len(looks) <= 2 * 120 + 20
        await operator.stop()

    virtual_time.run(main())


def test_nothing_is_looked_at_while_all_is_well_or_finished() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, runs_for=300)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        await asyncio.sleep(600)
        assert not [r for r in kube.requests if r.verb == "list" and "stage" in r.name]
        await operator.stop()

    virtual_time.run(main())
