"""status.usage over whole lives of jobs: each pod counts once, whatever fails, restarts or is forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kubetune.facts.views import Kind
from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, Outcome, finetunejob, good, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object

MINUTES = 60.0
TRAIN = 1
"""Its place among the stages."""


def _usage(kube: MemoryKube) -> list[dict[str, Any]]:
    job = kube.find("FineTuneJob", "job")
    assert job
    return list(job["status"]["usage"]["stages"])


def _ready(kube: MemoryKube) -> bool:
    return "Ready" in true_conditions(kube.find("FineTuneJob", "job"))


def _first_attempt_fails(pod: Object) -> Outcome | None:
    return (1, "") if "-train-1-0" in pod["metadata"]["name"] else good(pod)


@pytest.mark.parametrize("skew", [-600, 0, 600])
def test_attempts_that_failed_are_counted_with_those_that_did_not(skew: int) -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(
            kube=kube, runs_for=5 * MINUTES, skew=timedelta(seconds=skew), script=_first_attempt_fails
        )
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2))
        await until(lambda: _ready(kube), seconds=7200)
        await operator.stop()
        prepare, train = _usage(kube)
        assert (prepare["stage"], train["stage"]) == ("prepare", "train")
        assert prepare["podSeconds"] == pytest.approx(controllers.runs_for, abs=2)
        assert train["podSeconds"] == pytest.approx(4 * controllers.runs_for, abs=6)
        assert train["lastRun"]["number"] == 2
        assert train["lastRun"]["podSeconds"] == pytest.approx(2 * controllers.runs_for, abs=3)

    virtual_time.run(main())


def test_what_was_counted_survives_a_restart_and_the_loss_of_all_jobs() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, runs_for=5 * MINUTES, script=_first_attempt_fails)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-2"), seconds=7200)
        await operator.stop()
        for name in ("job-prepare", "job-train-1"):
            job = kube.find("Job", name)
            assert job
            kube.remove(job)
        another = Operator(kube=kube)
        await another.start()
        await until(lambda: _ready(kube), seconds=7200)
        await another.stop()
        assert [s["podSeconds"] for s in _usage(kube)] == pytest.approx([300, 600], abs=3)

    virtual_time.run(main())


def test_pods_of_before_and_after_a_suspension_are_counted() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube, runs_for=5 * MINUTES)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: (kube.find("Job", "job-train-1") or {}).get("status", {}).get("ready"))
        await asyncio.sleep(2 * MINUTES)
        controllers.suspend("job-train-1")
        await asyncio.sleep(60 * MINUTES)
        controllers.resume("job-train-1")
        await until(lambda: _ready(kube), seconds=7200)
        await operator.stop()
        assert _usage(kube)[TRAIN]["podSeconds"] == pytest.approx(7 * MINUTES, abs=4)

    virtual_time.run(main())


def test_usage_of_a_run_that_is_on_is_written_together_with_progress() -> None:
    async def main() -> None:
        kube = MemoryKube()
        statuses: list[dict[str, Any]] = []
        Controllers(kube=kube, runs_for=60 * MINUTES)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"), seconds=7200)
        await asyncio.sleep(MINUTES)

        def see(kind: Kind, type_: str, raw: Object) -> None:
            if kind is Kind.FINE_TUNE_JOB and type_ == "MODIFIED":
                statuses.append(raw["status"])

        kube.watchers.append(see)
        await asyncio.sleep(30 * MINUTES)
        await operator.stop()
        assert len(statuses) > 10
        for status in statuses:
            assert (
                status["usage"]["stages"][TRAIN]["lastRun"]["updateTime"] == status["progress"]["updateTime"]
            )
        assert _usage(kube)[TRAIN]["podSeconds"] == pytest.approx(31 * MINUTES, abs=MINUTES)

    virtual_time.run(main())
