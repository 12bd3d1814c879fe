"""Before everything is listed no job is looked at; what is in the way is told to those that wait."""

from __future__ import annotations

import asyncio

import pytest

from kubetune.cluster.election import Term
from kubetune.cluster.index import Index
from kubetune.cluster.kube.errors import Target, from_response
from kubetune.controller.leader import Leader, Means
from kubetune.facts.views import Kind
from kubetune.vocabulary.errors import KubeTuneError
from tests.support import virtual_time
from tests.support.harness import (
    SETTINGS,
    Controllers,
    FakeWeb,
    Operator,
    condition_of,
    finetunejob,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube


@pytest.mark.parametrize("kind", [Kind.SERVICE, Kind.POD])
def test_a_list_that_is_denied_is_told_to_the_jobs_that_wait(kind: Kind) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        earlier = Operator(kube=kube)
        await earlier.start()
        kube.add(finetunejob("served", serving=True))
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "served")))
        await earlier.stop()
        kube.add(finetunejob("waits"))
        index = Index()
        for raw in kube.of_kind("FineTuneJob"):
            index.put_parent(Kind.FINE_TUNE_JOB, raw)
        kube.requests.clear()

        async def obstacle() -> KubeTuneError:
            target = Target(verb="list", kind=kind, namespace="*", name="")
            words = b'{"message": "User \\"system:serviceaccount:a:b\\" cannot list resource \\"x\\""}'
            return from_response(target, 403, {}, words)

        means = Means(
            kube=kube, index=index, web=FakeWeb(), settings=SETTINGS.for_job, workers=1, now=virtual_time.now
        )
        term = Term(float("inf"))
        telling = asyncio.create_task(Leader(means).tell(obstacle, term))
        await asyncio.sleep(600)
        waits, served = kube.find("FineTuneJob", "waits"), kube.find("FineTuneJob", "served")
        assert waits
        assert condition_of(waits, "Ready")["reason"] == "MissingPermission"
        assert "ServiceAccount a/b lacks the right" in condition_of(waits, "Reconciling")["message"]
        assert "Ready" in true_conditions(served)
        assert kube.writes == ["patch FineTuneJob waits"]
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        restarted = Operator(kube=kube)
        await restarted.start()
        await until(
            lambda: condition_of(kube.find("FineTuneJob", "waits") or {}, "Ready")["reason"] == "Preparing"
        )
        await restarted.stop()

    virtual_time.run(main())
