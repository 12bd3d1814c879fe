"""Labels can be edited by anybody: no edit starts a second gang, or stops a job from being looked at."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import virtual_time
from tests.support.harness import (
    Controllers,
    Operator,
    Outcome,
    finetunejob,
    good,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object


def _endless_training(pod: Object) -> Outcome | None:
    return good(pod) if pod["metadata"]["labels"]["kubetune.dev/stage"] == "prepare" else None


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"kubetune.dev/attempt": value}, id=f"attempt {value!r}")
        for value in ("x", "-1", "2", "9" * 40, None)
    ]
    + [
        pytest.param({"kubetune.dev/stage": value}, id=f"stage {value!r}") for value in ("prepare", "?", None)
    ],
)
def test_an_edited_label_of_a_running_attempt_starts_no_second_one(edit: dict[str, str | None]) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=_endless_training)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(5)
        job = kube.find("Job", "job-train-1")
        assert job
        kube.change(job, {"metadata": {"labels": edit}})
        await asyncio.sleep(120)
        assert {o["metadata"]["name"] for o in kube.of_kind("Job")} == {"job-prepare", "job-train-1"}
        assert set(operator.results) == {"ok"}
        await operator.stop()

    virtual_time.run(main())


def test_a_relabelled_pod_of_a_job_that_is_gone_keeps_the_next_attempt_from_starting() -> None:
    async def main() -> None:
        kube = MemoryKube(collect_after=1e6)
        Controllers(kube=kube, script=_endless_training)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(5)
        pod = next(o for o in kube.of_kind("Pod") if o["metadata"]["name"].startswith("job-train-1"))
        kube.change(pod, {"metadata": {"labels": {"kubetune.dev/stage": "serve"}}})
        job = kube.find("Job", "job-train-1")
        assert job
        kube.remove(job)
        await asyncio.sleep(60)
        assert [o["metadata"]["name"] for o in kube.of_kind("Job")] == ["job-prepare"]
        kube.remove(next(o for o in kube.of_kind("Pod") if o["metadata"]["uid"] == pod["metadata"]["uid"]))
        await until(lambda: kube.find("Job", "job-train-2"))
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("restarted", [False, True], ids=["seen", "while the operator is away"])
@pytest.mark.parametrize("name", ["job-prepare", "job-train-1"])
@pytest.mark.parametrize("value", ["Helm", None])
def test_a_job_that_the_watches_lose_by_its_label_is_followed_to_its_end(
    name: str, value: str | None, restarted: bool
) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", name))
        await asyncio.sleep(5)
        if restarted:
            await operator.stop()
        job = kube.find("Job", name)
        assert job
        kube.change(job, {"metadata": {"labels": {"app.kubernetes.io/managed-by": value}}})
        if restarted:
            operator = Operator(kube=kube)
            await operator.start()
        requests = len(kube.requests)
        await asyncio.sleep(10)
        assert len(kube.requests) - requests < 12
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        made = [write for write in kube.writes if write.startswith("create Job")]
        assert made[-2:] == ["create Job job-prepare", "create Job job-train-1"]
        assert set(operator.results) == {"ok"}
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize(
    "place",
    ["Deployment job", "Service job", "ConfigMap job-config", "Service job-train"],
)
def test_a_served_child_that_the_watches_lose_by_its_label_stays_served(place: str) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        await asyncio.sleep(60)
        kind, name = place.split()
        child = kube.find(kind, name)
        assert child
        kube.requests.clear()
        kube.change(child, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}})
        await asyncio.sleep(600)
        lists = sum(request.verb == "list" for request in kube.requests)
        assert len(kube.requests) - lists < 90
        assert {"Ready", "Served"} <= {*true_conditions(kube.find("FineTuneJob", "job"))}
        child = kube.find(kind, name)
        assert child
        kube.change(child, {"metadata": {"labels": {"app.kubernetes.io/managed-by": "kubetune"}}})
        await asyncio.sleep(100)
        kube.requests.clear()
        await asyncio.sleep(600)
        assert {request.verb for request in kube.requests} == {"list"}
        await operator.stop()

    virtual_time.run(main())
