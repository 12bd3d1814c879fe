"""Status writes: what people wait for comes soon, whatever else is written, and no answer loses a job."""

from __future__ import annotations

import asyncio

import pytest

from kubetune.controller.earlier import SETTLED_AFTER
from kubetune.facts.views import Kind
from kubetune.vocabulary.errors import Conflict
from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, Outcome, finetunejob, good, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object, Request


def _train_on(pod: Object) -> Outcome | None:
    """Training never ends."""
    return None if pod["metadata"]["labels"]["kubetune.dev/stage"] == "train" else good(pod)


def _reason(kube: MemoryKube, name: str) -> str | None:
    conditions = ((kube.find("FineTuneJob", name) or {}).get("status") or {}).get("conditions") or ()
    return next((c["reason"] for c in conditions if c["type"] == "Ready"), None)


@pytest.mark.slow
def test_a_new_job_says_what_it_does_while_a_hundred_others_report_progress() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=_train_on)
        operator = Operator(kube=kube)
        await operator.start()
        for number in range(100):
            kube.add(finetunejob(f"running-{number}"))
        await asyncio.sleep(600)
        kube.add(finetunejob("late"))
        await asyncio.sleep(2)
        assert _reason(kube, "late") == "Preparing"
        await until(lambda: kube.find("Job", "late-train-1"))
        await asyncio.sleep(3)
        assert _reason(kube, "late") == "Training"
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.slow
def test_three_hundred_jobs_at_once_all_say_what_they_do_within_thirty_seconds() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, runs_for=1000)
        operator = Operator(kube=kube)
        await operator.start()
        names = [f"job-{number}" for number in range(300)]
        for name in names:
            kube.add(finetunejob(name))
        await asyncio.sleep(30)
        assert {_reason(kube, name) for name in names} == {"Preparing"}
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("times", [1, 5])
def test_a_conflict_on_a_status_write_loses_nothing(times: int) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        left = times

        def race(request: Request) -> None:
            nonlocal left
            if request.verb == "patch" and left:
                left -= 1
                said = "the object has been modified"
                raise Conflict(
                    said, verb="patch", kind=request.kind, namespace="team", name=request.name, status=409
                )

        kube.before = race
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        assert not left
        job = kube.find("FineTuneJob", "job")
        assert job
        kube.change(job, {"spec": {"serving": {}}})  # it is still heard
        await until(lambda: kube.find(Kind.DEPLOYMENT, "job"))
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("replaced", [False, True], ids=["edited", "replaced"])
def test_what_is_first_seen_in_the_answer_to_a_status_write_is_heard(replaced: bool) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube, watch_lag=0.1)
        done = False

        def correct(request: Request) -> None:
            nonlocal done
            job = kube.find("FineTuneJob", "job")
            if request.verb != "patch" or not job or done:
                return
            done = True
            if replaced:
                kube.remove(job)
                kube.add(finetunejob())
            else:
                kube.change(job, {"spec": {"training": {"gpusPerNode": 0}}})

        kube.before = correct
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        wrong = finetunejob()
        wrong["spec"]["training"]["gpusPerNode"] = -1
        kube.add(wrong)
        await until(lambda: kube.find("Job", "job-prepare"), seconds=5)
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        await operator.stop()

    virtual_time.run(main())
