"""A server that is not wanted any more is removed, whatever the operator has heard of it."""

from __future__ import annotations

import asyncio
import copy

import pytest

from kubetune.children.guard import DIGEST
from kubetune.vocabulary.errors import Rejected
from kubetune.vocabulary.names import ROLE_SERVING, Names
from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, finetunejob, true_conditions, until
from tests.support.memory_kube import MemoryKube, Request
from tests.support.told import job_of

MANAGED_BY = "app.kubernetes.io/managed-by"


def _relabel(kube: MemoryKube, kind: str, value: str) -> None:
    found = kube.find(kind, "job")
    assert found
    kube.change(found, {"metadata": {"labels": {MANAGED_BY: value}}})


def _servers(kube: MemoryKube) -> list[str]:
    return [kind for kind in ("Deployment", "Service") if kube.find(kind, "job")]


async def _served(kube: MemoryKube) -> Operator:
    operator = Operator(kube=kube)
    await operator.start()
    kube.add(finetunejob(serving=True))
    await until(lambda: "Ready" in true_conditions(job_of(kube)))
    return operator


@pytest.mark.parametrize("comes_back", [False, True], ids=["never seen", "seen late"])
def test_a_server_that_the_watches_do_not_know_is_removed_with_its_block(comes_back: bool) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube)
        await operator.stop()
        _relabel(kube, "Deployment", "Helm")
        _relabel(kube, "Service", "Helm")
        kube.change(job_of(kube), {"spec": {"serving": None}})
        again = Operator(kube=kube)
        await again.start()
        if comes_back:
            await asyncio.sleep(0.1)
            for kind in _servers(kube):
                _relabel(kube, kind, "kubetune")
        await asyncio.sleep(120)
        assert _servers(kube) == []
        assert {*true_conditions(job_of(kube))} == {"Prepared", "Trained", "Ready"}
        await again.stop()
        kube.requests.clear()
        third = Operator(kube=kube)
        await third.start()
        await asyncio.sleep(300)
        assert {request.verb for request in kube.requests} == {"list"}
        await third.stop()

    virtual_time.run(main())


def test_a_server_that_shows_up_after_all_is_removed() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube)
        late = copy.deepcopy(kube.find("Deployment", "job"))
        assert late
        kube.change(job_of(kube), {"spec": {"serving": None}})
        await until(lambda: not _servers(kube))
        await asyncio.sleep(60)
        kube.add(late)
        await until(lambda: not _servers(kube), seconds=10)
        assert "Ready" in true_conditions(job_of(kube))
        await operator.stop()

    virtual_time.run(main())


def test_a_server_whose_removal_is_refused_keeps_the_job_from_being_ready_until_it_is_gone() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube)

        def refuse(request: Request) -> None:
            if request.verb == "delete":
                of = {"verb": request.verb, "kind": request.kind, "name": request.name}
                raise Rejected("a policy says no", namespace="team", status=403, **of)

        kube.before = refuse
        kube.change(job_of(kube), {"spec": {"serving": None}})
        await asyncio.sleep(100)
        assert _servers(kube) == ["Deployment", "Service"]
        assert {*true_conditions(job_of(kube))} == {"Prepared", "Trained", "Served", "Reconciling"}
        assert "is refused: a policy says no" in str(job_of(kube)["status"])
        await operator.stop()
        _relabel(kube, "Deployment", "Helm")
        kube.before = lambda _request: None
        again = Operator(kube=kube)
        await again.start()
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert _servers(kube) == []
        await again.stop()

    virtual_time.run(main())


GUARD = Names("job").guard(ROLE_SERVING, DIGEST)
EARLIER = Names("job").guard(ROLE_SERVING, "0123456789abcdef")


def test_the_guard_goes_with_the_server() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _served(kube)
        assert kube.find("ConfigMap", GUARD)
        kube.change(job_of(kube), {"spec": {"serving": None}})
        await until(lambda: "Ready" in true_conditions(job_of(kube)) and not _servers(kube))
        assert kube.find("ConfigMap", GUARD) is None
        assert kube.find("ConfigMap", "job-config")
        await operator.stop()

    virtual_time.run(main())


def test_an_earlier_guard_stays_until_no_server_mounts_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = await _served(kube)
        await operator.stop()
        earlier = copy.deepcopy(kube.find("ConfigMap", GUARD))
        assert earlier
        earlier["metadata"]["name"] = EARLIER
        del earlier["metadata"]["uid"]
        kube.add(earlier)
        controllers.ready_after = 60
        kube.change(job_of(kube), {"spec": {"serving": {"engineArgs": {"max-model-len": "512"}}}})
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(30)
        assert kube.find("ConfigMap", EARLIER)
        await until(lambda: kube.find("ConfigMap", EARLIER) is None)
        assert "Ready" in true_conditions(job_of(kube))
        assert kube.find("ConfigMap", GUARD)
        await again.stop()

    virtual_time.run(main())
