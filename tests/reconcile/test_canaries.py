"""What servers say of themselves: proven, unproven, or kept from requests."""

from __future__ import annotations

import asyncio

from kubetune.facts.canary import Canary
from tests.support import virtual_time
from tests.support.harness import (
    SAME,
    Controllers,
    Operator,
    finetunejob,
    starting_server,
    trains,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube
from tests.support.told import job_of, said

UNPROVEN = Canary(
    verdict="Unproven", message="The artifact has no canary.json.", digest="sha256:1", weights=None
)
MISMATCH = Canary(
    verdict="Mismatch",
    message="The adapter has no effect. Its 8 answers and the base's are 0 at most, 0 in the median apart.",
    digest="sha256:1",
)


def _events(kube: MemoryKube) -> list[tuple[str, str]]:
    return [(event["type"], event["reason"]) for event in kube.of_kind("Event")]


async def _served(kube: MemoryKube, said: Canary) -> Operator:
    Controllers(kube=kube)
    operator = Operator(kube=kube)
    operator.web.said = said
    await operator.start()
    kube.add(finetunejob(serving=True))
    await until(lambda: "Ready" in true_conditions(job_of(kube)))
    return operator


def test_a_proven_server_is_said_to_be_and_the_status_keeps_what_answered() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _served(kube, SAME)
        assert said(kube, "Served") == (
            "True",
            "Serving",
            "The Service answers with this model, as training measured: see status.serving.canary.",
        )
        assert job_of(kube)["status"]["serving"]["canary"] == {
            "verdict": "Same",
            "message": "Its 8 answers are 0 off.",
            "digest": "sha256:1",
            "weights": "sha256:2",
        }
        await operator.stop()

    virtual_time.run(main())


def test_an_unproven_server_is_served_with_a_warning() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _served(kube, UNPROVEN)
        assert said(kube, "Served")[:2] == said(kube, "Ready")[:2] == ("True", "ServingUnproven")
        assert UNPROVEN.message in said(kube, "Served")[2]
        await asyncio.sleep(10)
        assert _events(kube)[-1] == ("Warning", "ServingUnproven")
        await operator.stop()

    virtual_time.run(main())


def test_what_answered_is_known_to_the_next_operator_which_neither_asks_nor_writes() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _served(kube, UNPROVEN)
        await operator.stop()
        kube.requests.clear()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(600)
        assert kube.writes == []
        assert again.web.asked == 0
        await again.stop()

    virtual_time.run(main())


def test_a_server_that_answers_otherwise_is_never_served_and_the_job_says_what_to_do() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = Operator(kube=kube)
        operator.web.said = MISMATCH
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: any(trains(pod) for pod in kube.of_kind("Pod")))
        controllers.ready_after = 100_000.0
        await until(lambda: kube.find("Deployment", "job"))
        kube.add(starting_server(kube))
        await asyncio.sleep(60)
        assert said(kube, "Served")[:2] == ("False", "ModelMismatch")
        status, reason, message = said(kube, "Stalled")
        assert (status, reason) == ("True", "ModelMismatch")
        assert MISMATCH.message in message
        assert "job-abc" in message
        assert "serving.engineArgs" in message
        assert ("Warning", "ModelMismatch") in _events(kube)
        kube.requests.clear()
        await asyncio.sleep(600)
        assert kube.writes == []
        assert len(kube.requests) < 200
        operator.web.said = SAME
        await asyncio.sleep(60)
        assert said(kube, "Served")[:2] == ("False", "Deploying")
        await operator.stop()

    virtual_time.run(main())


def test_a_newer_server_that_answers_otherwise_is_told_while_the_earlier_one_answers() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        controllers.ready_after = 100_000.0
        operator.web.said = MISMATCH
        kube.change(job_of(kube), {"spec": {"serving": {"engineArgs": {"max-model-len": "512"}}}})
        await asyncio.sleep(5)
        deployment = kube.find("Deployment", "job")
        assert deployment
        counts = {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
        generation = deployment["metadata"]["generation"]
        kube.change(deployment, {"status": {"observedGeneration": generation, **counts}})
        kube.add(starting_server(kube))
        await asyncio.sleep(60)
        assert said(kube, "Stalled")[:2] == ("True", "ModelMismatch")
        assert said(kube, "Ready")[0] == "False"
        assert said(kube, "Served")[:2] == ("True", "Serving")
        assert job_of(kube)["status"]["serving"]["canary"]["verdict"] == "Same"
        await operator.stop()

    virtual_time.run(main())
