"""Two operators that share a Lease: one acts, the other takes over, and only one of them writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import virtual_time
from tests.support.harness import (
    Contender,
    Controllers,
    FakeWeb,
    finetunejob,
    key,
    true_conditions,
    until,
)
from tests.support.link import Link
from tests.support.memory_kube import MemoryKube

Scenario = Callable[["Pair"], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Pair:
    """The one that leads first, and its standby."""

    kube: MemoryKube = field(default_factory=MemoryKube)
    controllers: Controllers = field(init=False)
    first: Contender = field(init=False)
    second: Contender = field(init=False)

    async def start(self) -> None:
        self.controllers = Controllers(kube=self.kube)
        self.first = self.contender("first")
        self.second = self.contender("second")
        await self.first.start()
        await until(lambda: self.first.leads)
        await self.second.start()

    def contender(self, who: str) -> Contender:
        return Contender(kube=self.kube, link=Link(kube=self.kube, who=who))

    def is_(self, condition: str, name: str = "job") -> Callable[[], bool]:
        return lambda: condition in true_conditions(self.kube.find("FineTuneJob", name))

    def has(self, kind: str, name: str) -> Callable[[], bool]:
        return lambda: self.kube.find(kind, name) is not None


def run(scenario: Scenario) -> None:
    """Run it, and look who wrote: at each moment only the one that the Lease named."""

    async def main() -> None:
        pair = Pair()
        await pair.start()
        await scenario(pair)
        for operator in (pair.first, pair.second):
            assert [write for write in operator.link.arrived if write[2] != operator.link.who] == []

    virtual_time.run(main())


def test_a_standby_writes_nothing_and_takes_over_a_lost_node_within_30_s() -> None:
    async def scenario(pair: Pair) -> None:
        pair.kube.add(finetunejob(serving=True))
        await until(pair.has("Job", "job-prepare"))
        await pair.first.kill()
        lost = asyncio.get_running_loop().time()
        assert pair.second.link.arrived == []
        await until(lambda: pair.second.leads, seconds=30)
        await until(pair.is_("Ready"))
        assert pair.second.leads[0][0] - lost <= 20
        made = [write for write in pair.kube.writes if write.startswith("create")]
        assert len(made) == len(set(made))

    run(scenario)


def test_a_leader_that_is_told_to_end_is_followed_at_once() -> None:
    async def scenario(pair: Pair) -> None:
        pair.kube.add(finetunejob())
        await until(pair.has("Job", "job-prepare"))
        await pair.first.terminate()
        await until(lambda: pair.second.leads, seconds=3)
        await until(pair.is_("Ready"))

    run(scenario)


@pytest.mark.parametrize("lasts", [5.0, 20.0, 90.0])
@pytest.mark.parametrize("when", [0.05, 3.0, 30.0])
def test_a_leader_that_is_cut_off_for_a_while_writes_nothing_late(when: float, lasts: float) -> None:
    async def scenario(pair: Pair) -> None:
        pair.kube.add(finetunejob(serving=True))
        await asyncio.sleep(when)
        pair.first.link.cut = True
        await asyncio.sleep(lasts)
        pair.first.link.cut = False
        await until(pair.is_("Ready"))
        await asyncio.sleep(60)
        assert [pair.kube.writes.count(f"create Job job-{name}") for name in ("prepare", "train-1")] == [1, 1]

    run(scenario)


def test_a_worker_that_hangs_does_not_keep_its_operator_from_contending_again() -> None:
    async def scenario(pair: Pair) -> None:
        pair.first.link.cut = True
        pair.kube.add(finetunejob())  # what has to be read for it is never answered
        await until(lambda: pair.first.leads[-1][1] is False, seconds=15)
        pair.first.link.cut = False
        await until(pair.is_("Ready"))
        await pair.second.terminate()
        await until(lambda: pair.first.leads[-1][1] is True, seconds=5)

    run(scenario)


def test_a_slow_network_lets_no_write_arrive_in_the_term_of_another() -> None:
    async def scenario(pair: Pair) -> None:
        for number in range(5):
            pair.kube.add(finetunejob(f"job-{number}"))
        pair.first.link.there = lambda: 9.0  # no renewal gets through in time, and writes are under way
        await asyncio.sleep(60)
        assert [leads for _, leads in pair.first.leads] == [True, False]
        pair.first.link.there = lambda: 0.0
        for number in range(5):
            await until(pair.is_("Ready", f"job-{number}"))

    run(scenario)


def test_one_that_reaches_no_service_does_not_quarrel_with_the_other() -> None:
    async def scenario(pair: Pair) -> None:
        pair.first.web.answering = False
        pair.kube.add(finetunejob(serving=True))
        await until(pair.is_("Trained"))
        await asyncio.sleep(120)
        since = len(pair.kube.writes)
        await asyncio.sleep(600)
        assert pair.kube.writes[since:] == []
        assert "Ready" not in true_conditions(pair.kube.find("FineTuneJob", "job"))
        await pair.first.terminate()
        await until(pair.is_("Ready"))
        since = len(pair.kube.writes)
        await asyncio.sleep(600)
        assert pair.kube.writes[since:] == []

    run(scenario)


def test_what_an_operator_remembered_ends_with_its_term() -> None:
    async def scenario(pair: Pair) -> None:
        pair.kube.add(finetunejob(serving=True))
        await until(pair.is_("Ready"))
        pair.first.link.cut = True
        await until(lambda: pair.second.leads, seconds=30)
        pair.first.link.cut = False
        # While the second acts, another spec is wanted and carried out, of which the first remembers nothing.
        served = pair.kube.find("FineTuneJob", "job")
        assert served
        pair.kube.change(served, {"spec": {"serving": None}})
        await until(lambda: pair.kube.find("Deployment", "job") is None and pair.is_("Ready")())
        asked = pair.first.web.asked
        await asyncio.sleep(300)
        assert pair.first.web.asked == asked
        since = len(pair.kube.writes)
        await pair.second.terminate()
        await until(lambda: len(pair.first.leads) == 3)
        await asyncio.sleep(60)
        assert pair.kube.writes[since:] == []

    run(scenario)


def test_a_standby_that_is_deaf_reads_what_was_done_last_before_it_acts() -> None:
    async def scenario(pair: Pair) -> None:
        pair.second.deaf = True
        pair.kube.add(finetunejob())
        await until(pair.is_("Ready"))
        status = _status(pair)
        since = len(pair.kube.writes)
        await pair.first.terminate()
        await until(lambda: pair.second.leads)
        await asyncio.sleep(30)
        assert pair.second.index.parent(key()) is not None
        assert pair.kube.writes[since:] == []
        assert _status(pair) == status

    run(scenario)


def test_a_standby_that_never_leads_reads_pods_and_services_of_nobody() -> None:
    async def scenario(pair: Pair) -> None:
        assert isinstance(pair.second.web, FakeWeb)
        pair.kube.add(finetunejob(serving=True))
        await until(pair.is_("Ready"))
        assert (pair.second.web.asked, pair.second.web.step) == (0, 0)

    run(scenario)


def _status(pair: Pair) -> Any:
    found = pair.kube.find("FineTuneJob", "job")
    assert found
    return found["status"]
