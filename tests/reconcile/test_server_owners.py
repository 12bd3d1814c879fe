"""A server that others change too: what is theirs is left, what is ours put right ever more slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, finetunejob, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object, Request
from tests.support.told import job_of, said


def _deployment(kube: MemoryKube) -> Object:
    found = kube.find("Deployment", "job")
    assert found
    return found


def _count(kube: MemoryKube, request: str) -> int:
    return [str(r) for r in kube.requests].count(request)


async def _served(kube: MemoryKube, **serving: Any) -> Operator:
    operator = Operator(kube=kube)
    await operator.start()
    raw = finetunejob(serving=True)
    raw["spec"]["serving"] = serving
    kube.add(raw)
    await until(lambda: "Ready" in true_conditions(job_of(kube)))
    return operator


def _owned(manager: str, **spec: Any) -> list[dict[str, Any]]:
    return [
        {"manager": "kubetune", "operation": "Apply", "fieldsV1": {"f:spec": {"f:strategy": {}}}},
        {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": spec}},
        {"manager": "status", "operation": "Update", "fieldsV1": {"f:status": {}}, "subresource": "status"},
    ]


def _of_container(*fields: str) -> dict[str, Any]:
    owned = {f"f:{field}": {} for field in fields}
    return {"f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': owned}}}}


def _scaled(live: Object) -> Object:
    managers = _owned("kube-controller-manager", **{"f:replicas": {}})
    return {"spec": {"replicas": live["spec"]["replicas"] + 3}, "metadata": {"managedFields": managers}}


def _edited(field: str, value: Any) -> Callable[[Object], Object]:
    def edit(live: Object) -> Object:
        container = {**live["spec"]["template"]["spec"]["containers"][0], field: value}
        managers = _owned("kubectl-edit", **_of_container(field))
        spec = {"template": {"spec": {"containers": [container]}}}
        return {"spec": spec, "metadata": {"managedFields": managers}}

    return edit


def _stripped(live: Object) -> Object:
    del live
    return {"metadata": {"annotations": {"kubetune.dev/intent": None}}}


LEAVE_OUT = "Leave serving.replicas out if that is to decide their number, or end what changes it."
END = "End what changes it, or change spec.serving instead."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            _scaled,
            "kube-controller-manager changes replicas of Deployment job again and again; they are put right "
            f"ever more slowly. {LEAVE_OUT}",
            id="replicas",
        ),
        pytest.param(
            _edited("image", "other:1"),
            "kubectl-edit changes image of Deployment job again and again; they are put right ever more "
            f"slowly. {END}",
            id="image",
        ),
        pytest.param(
            _edited("args", ["--port", "1"]),
            "kubectl-edit changes args of Deployment job again and again; they are put right ever more "
            f"slowly. {END}",
            id="args",
        ),
        pytest.param(
            _stripped,
            "Something changes Deployment job again and again; it is put right ever more slowly. " + END,
            id="what we note on it",
        ),
    ],
)
def test_an_owner_that_fights_for_a_server_is_named_and_met_ever_more_slowly(
    change: Callable[[Object], Object], message: str
) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube, replicas=1)

        def fight() -> None:
            live = _deployment(kube)
            kube.change(live, change(live))

        def fight_back(request: Request) -> None:
            if str(request) == "apply Deployment job":
                asyncio.get_running_loop().call_later(0.05, fight)

        kube.requests.clear()
        kube.after = fight_back
        fight()
        await asyncio.sleep(600)
        assert 5 <= _count(kube, "apply Deployment job") <= 12
        assert _count(kube, "get Deployment job") <= _count(kube, "apply Deployment job")
        assert _count(kube, "patch FineTuneJob job") <= 3 * _count(kube, "apply Deployment job")
        assert said(kube, "Ready")[:2] == ("False", "ChangedByOthers")
        assert said(kube, "Reconciling")[2] == message
        assert said(kube, "Served")[0] == "True"

        kube.after = lambda _request: None
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await asyncio.sleep(1500)
        fight()
        await asyncio.sleep(5)
        assert "Ready" in true_conditions(job_of(kube))  # a calm time is a new beginning
        await operator.stop()

    virtual_time.run(main())


def test_a_server_that_somebody_keeps_deleting_is_made_ever_more_slowly_and_says_so() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube)

        def fight_back(request: Request) -> None:
            if str(request) == "apply Deployment job":
                asyncio.get_running_loop().call_later(0.05, lambda: kube.remove(_deployment(kube)))

        kube.requests.clear()
        kube.after = fight_back
        kube.remove(_deployment(kube))
        await asyncio.sleep(600)
        assert 5 <= _count(kube, "apply Deployment job") <= 12
        assert said(kube, "Served")[:2] == ("False", "ChangedByOthers")
        assert said(kube, "Reconciling")[1:] == (
            "ChangedByOthers",
            "Deployment job is deleted again and again, and made again ever more slowly. End what deletes "
            "it, or remove spec.serving.",
        )
        kube.after = lambda _request: None
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_the_number_of_servers_that_the_spec_leaves_out_belongs_to_others() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube)
        ready: set[bool] = set()
        kube.watchers.append(
            lambda kind, _, raw: ready.add("Ready" in true_conditions(raw)) if kind == "FineTuneJob" else None
        )
        kube.requests.clear()
        for replicas in (2, 5, 1, 3):
            kube.change(_deployment(kube), {"spec": {"replicas": replicas}})
            await asyncio.sleep(60)
        assert ready == {True}
        assert job_of(kube)["status"]["serving"]["replicas"] == 3
        assert _count(kube, "apply Deployment job") == 0

        kube.change(job_of(kube), {"spec": {"serving": {"engineArgs": {"max-model-len": "512"}}}})
        await until(lambda: _count(kube, "apply Deployment job") == 1)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert _deployment(kube)["spec"]["replicas"] == 3

        kube.change(_deployment(kube), {"spec": {"replicas": 0}})
        await asyncio.sleep(60)
        assert said(kube, "Served")[:2] == ("False", "Deploying")
        assert said(kube, "Reconciling")[1:] == (
            "Deploying",
            "No server runs: Deployment job is scaled to 0, and without serving.replicas the number is left "
            "to others.",
        )
        assert _count(kube, "apply Deployment job") == 1
        await operator.stop()

    virtual_time.run(main())
