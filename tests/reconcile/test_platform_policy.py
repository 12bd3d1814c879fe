"""What the platform allows, over the life of a job: before it starts, while it serves, when doors close."""

from __future__ import annotations

import asyncio
from typing import Any

from kubetune.process.settings import Settings
from tests.support import virtual_time
from tests.support.harness import (
    SETTINGS,
    Controllers,
    Operator,
    condition_of,
    finetunejob,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube
from tests.support.told import job_of

OPEN = SETTINGS.model_copy(update={"allowed_priority_classes": ("batch",)})
BATCH: dict[str, Any] = {"podTemplate": {"priorityClassName": "batch"}}
REFUSAL = (
    'spec.{}.podTemplate.priorityClassName: "batch" is not allowed by this platform; remove it, or ask '
    "for it to be added to the operator's setting allowedPriorityClasses"
)


def policies(kube: MemoryKube) -> set[str]:
    return {raw["metadata"]["name"].rsplit("-", 1)[0] for raw in kube.of_kind("NetworkPolicy")}


async def served(kube: MemoryKube, *, settings: Settings = SETTINGS, **serving: Any) -> Operator:
    """Start an operator that has a job served."""
    Controllers(kube=kube)
    operator = Operator(kube=kube, settings=settings)
    await operator.start()
    raw = finetunejob(serving=True)
    raw["spec"]["serving"] = serving
    kube.add(raw)
    await until(lambda: "Ready" in true_conditions(job_of(kube)))
    return operator


def test_a_job_that_asks_for_too_much_makes_nothing_and_starts_when_it_is_allowed() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(**BATCH))
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        stalled = condition_of(job_of(kube), "Stalled")
        assert stalled is not None
        assert (stalled["reason"], stalled["message"].rstrip(".")) == (
            "InvalidSpec",
            REFUSAL.format("training"),
        )
        assert {raw["kind"] for raw in kube.objects.values()} == {"FineTuneJob", "Event"}
        await operator.stop()
        operator = Operator(kube=kube, settings=OPEN)
        await operator.start()
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_a_server_stays_when_what_it_asks_for_is_not_allowed_any_more() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await served(kube, settings=OPEN, **BATCH)
        await operator.stop()
        server = kube.find("Deployment", "job")
        operator = Operator(kube=kube)
        await operator.start()
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        stalled = condition_of(job_of(kube), "Stalled")
        assert stalled is not None
        assert stalled["message"].rstrip(".") == REFUSAL.format("serving")
        assert "Served" in true_conditions(job_of(kube))
        assert kube.find("Deployment", "job")["spec"] == server["spec"]
        kube.change(job_of(kube), {"spec": {"serving": {"podTemplate": None}}})
        await until(lambda: kube.writes.count("apply Deployment job") == 2)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert "Stalled" not in true_conditions(job_of(kube))
        await operator.stop()

    virtual_time.run(main())


def test_policies_follow_who_may_reach_the_server_and_go_with_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await served(kube)
        assert policies(kube) == {"job-network-pods", "job-network-serving"}
        [before] = [raw for raw in kube.of_kind("NetworkPolicy") if "-serving-" in raw["metadata"]["name"]]
        applies = kube.writes.count("apply Deployment job")
        kube.change(job_of(kube), {"spec": {"serving": {"allowFrom": [{"namespaceSelector": {}}]}}})
        await asyncio.sleep(60)
        [after] = [raw for raw in kube.of_kind("NetworkPolicy") if "-serving-" in raw["metadata"]["name"]]
        assert before["metadata"]["name"] != after["metadata"]["name"]
        assert {"namespaceSelector": {}} in after["spec"]["ingress"][0]["from"]
        assert kube.writes.count("apply Deployment job") == applies
        kube.change(job_of(kube), {"spec": {"serving": None}})
        await asyncio.sleep(60)
        assert policies(kube) == {"job-network-pods"}
        await operator.stop()

    virtual_time.run(main())


def test_turned_off_policies_go_from_a_server_that_runs() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await served(kube)
        await operator.stop()
        off = SETTINGS.network_policies.model_copy(update={"enabled": False})
        operator = Operator(kube=kube, settings=SETTINGS.model_copy(update={"network_policies": off}))
        await operator.start()
        await asyncio.sleep(60)
        assert policies(kube) == set()
        await operator.stop()

    virtual_time.run(main())
