"""What is not let in: a policy and a webhook may change their minds, the API server's own rules do not."""

from __future__ import annotations

import asyncio

import pytest

from kubetune.cluster.kube.errors import Target, from_response
from kubetune.vocabulary.errors import KubeTuneError
from tests.support import virtual_time
from tests.support.denials import BY_POLICY, BY_THE_RULES, BY_WEBHOOK, Denial
from tests.support.harness import (
    Controllers,
    Operator,
    condition_of,
    finetunejob,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Request
from tests.support.told import job_of

DENIALS = [*BY_POLICY, *BY_WEBHOOK]


def _error(request: Request, denial: Denial) -> KubeTuneError:
    target = Target(verb=request.verb, kind=request.kind, namespace="team", name=request.name)
    return from_response(target, denial.status, {}, denial.body)


class Gate:
    """Denies the creation of one child while it is closed."""

    def __init__(self, kube: MemoryKube, denial: Denial, child: str) -> None:
        self.closed = True
        self.asked: list[float] = []
        self._denial = denial
        self._child = child
        kube.before = self._before

    def _before(self, request: Request) -> None:
        if str(request) == self._child:
            self.asked.append(asyncio.get_running_loop().time())
            if self.closed:
                raise _error(request, self._denial)


@pytest.mark.parametrize("denial", DENIALS, ids=str)
@pytest.mark.parametrize("child", ["create Job job-train-1", "create Job job-prepare"])
def test_a_denial_is_told_and_lifting_it_is_enough(denial: Denial, child: str) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        gate = Gate(kube, denial, child)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(60)
        ready = condition_of(job_of(kube), "Ready")
        assert (ready["status"], ready["reason"]) in (("False", "PodRejected"), ("Unknown", "PodRejected"))
        assert denial.words in condition_of(job_of(kube), "Reconciling")["message"]
        assert "Stalled" not in true_conditions(job_of(kube))
        gate.closed = False
        await until(lambda: "Ready" in true_conditions(job_of(kube)), seconds=200)
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.slow
def test_a_denial_is_tried_again_ever_more_slowly_whatever_happens_meanwhile() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        gate = Gate(kube, BY_POLICY[0], "create Job job-train-1")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        for number in range(360):
            await asyncio.sleep(20)
            kube.change(job_of(kube), {"metadata": {"annotations": {"touched": str(number)}}})
        pauses = [round(b - a) for a, b in zip(gate.asked, gate.asked[1:], strict=False)]
        assert pauses[:7] == [30, 60, 120, 240, 480, 600, 600]
        assert max(pauses) <= 601
        told = [w for w in kube.writes if w.startswith("patch")]
        assert len(told) <= 5
        await operator.stop()

    virtual_time.run(main())


def test_a_denied_server_is_asked_for_at_once_when_it_is_edited() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        gate = Gate(kube, BY_WEBHOOK[0], "apply Deployment job")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: len(gate.asked) == 4)  # the next one is four minutes away
        gate.closed = False
        await asyncio.sleep(10)
        assert "Ready" not in true_conditions(job_of(kube))
        kube.change(job_of(kube), {"spec": {"serving": {"replicas": 2}}})
        await until(lambda: "Ready" in true_conditions(job_of(kube)), seconds=10)
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("denial", BY_THE_RULES, ids=str)
def test_what_the_api_server_finds_invalid_by_its_own_rules_is_asked_once(denial: Denial) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        gate = Gate(kube, denial, "create Job job-train-1")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(3600)
        stalled = condition_of(job_of(kube), "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
        assert denial.words in stalled["message"]
        assert len(gate.asked) == 1
        await operator.stop()

    virtual_time.run(main())


def test_an_invalid_server_is_asked_for_once_for_each_edit() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        gate = Gate(kube, BY_THE_RULES[0], "apply Deployment job")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        for number in range(20):
            kube.change(job_of(kube), {"metadata": {"annotations": {"touched": str(number)}}})
            await asyncio.sleep(30)
        assert len(gate.asked) == 1
        kube.change(job_of(kube), {"spec": {"serving": {"replicas": 2}}})
        await asyncio.sleep(60)
        assert len(gate.asked) == 2
        await operator.stop()

    virtual_time.run(main())
