"""A status is written on top of what another one wrote, or of what the schema leaves: neither stays wrong."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, condition_of, finetunejob, true_conditions, until
from tests.support.memory_kube import MemoryKube, Request
from tests.support.told import job_of


@pytest.mark.parametrize("deaf", [True, False], ids=["unheard", "heard late"])
def test_a_status_that_another_one_changed_unseen_is_put_right(deaf: bool) -> None:
    """As when the answer to a write was lost, or a second operator is about to go."""

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        raced = 0

        def race(request: Request) -> None:
            nonlocal raced
            if str(request) != "patch FineTuneJob job" or raced == 3:
                return
            if "attempts" in job_of(kube).get("status", {}):
                raced += 1
                operator.deaf = deaf
                kube.change(
                    job_of(kube), {"status": {"artifact": {"uri": "pvc://elsewhere/x"}, "plan": None}}
                )
                operator.deaf = False

        kube.before = race
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await asyncio.sleep(120)
        assert raced == 3
        assert job_of(kube)["status"]["artifact"]["uri"].startswith("pvc://job-output/")
        assert job_of(kube)["status"]["plan"]["images"]["trainer"] == "trainer:1"
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("dropped", ["plan", "usage"])
def test_a_field_that_the_schema_does_not_keep_is_written_no_more_than_twice(dropped: str) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, runs_for=1e6)
        kube.prune = lambda status: {name: value for name, value in status.items() if name != dropped}
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-prepare"))
        await asyncio.sleep(60)
        assert condition_of(job_of(kube), "Ready")["reason"] == "Preparing"
        written = kube.writes.copy()
        assert written.count("patch FineTuneJob job") <= 2
        for number in range(100):
            await asyncio.sleep(10)
            kube.change(job_of(kube), {"metadata": {"annotations": {"touched": str(number)}}})
        assert kube.writes == written
        await operator.stop()

    virtual_time.run(main())
