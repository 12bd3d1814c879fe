"""Who may act: one at a time, whatever happens to clocks, requests and the Lease itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune.cluster.election import (
    DURATION,
    RENEW_DEADLINE,
    REQUEST_LIMIT,
    WRITE_DEADLINE,
    Observed,
    Term,
    claimed,
    released,
)
from kubetune.cluster.lease import Elector, new_identity
from kubetune.vocabulary.errors import TransientError
from tests.support import virtual_time
from tests.support.link import Link
from tests.support.memory_kube import MemoryKube, Object, Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = {
    "holderIdentity": "other",
    "leaseDurationSeconds": 15,
    "acquireTime": "2025-12-31T23:00:00.000000Z",
    "renewTime": "2025-12-31T23:59:59.000000Z",
    "leaseTransitions": 3,
}


def lease(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": "system", "name": "kubetune"},
        "spec": {**SPEC, **spec},
    }


# What is written.


def test_the_first_claim_counts_no_transition() -> None:
    assert claimed(None, "me", NOW) == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }


def test_a_takeover_counts_as_a_transition() -> None:
    assert claimed(lease(), "me", NOW) == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 4,
    }


def test_a_renewal_changes_only_its_time() -> None:
    mine = lease(holderIdentity="me")
    assert claimed(mine, "me", NOW) == {**mine["spec"], "renewTime": "2026-01-01T00:00:00.000000Z"}


def test_what_is_given_back_has_no_holder_and_keeps_what_others_wrote() -> None:
    mine = lease(holderIdentity="me", strategy="OldestEmulationVersion")
    assert released(mine, NOW) == {
        **mine["spec"],
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }


@pytest.mark.parametrize("spec", [None, {}, {"leaseTransitions": "many"}, {"leaseTransitions": -1}])
def test_a_malformed_lease_can_be_taken(spec: dict[str, Any] | None) -> None:
    broken = {**lease(), "spec": spec}
    observed = Observed("me")
    observed.see(broken, 100.0)
    assert observed.free_in(100.0) == 0
    assert claimed(broken, "me", NOW) == {**claimed(None, "me", NOW), "leaseTransitions": 1}


# What a contender sees.


def test_a_contender_waits_from_the_last_change_by_its_own_clock() -> None:
    observed = Observed("me")
    observed.see(lease(), 100.0)
    assert observed.free_in(100.0) == DURATION
    observed.see(lease(), 110.0)
    assert observed.free_in(110.0) == DURATION - 10
    observed.see(lease(renewTime="1999-01-01T00:00:00.000000Z"), 114.0)
    assert observed.free_in(114.0) == DURATION
    assert observed.free_in(114.0 + DURATION) == 0


@pytest.mark.parametrize(
    ("seconds", "waits"), [(60, 60.0), (1, DURATION), (None, DURATION), ("long", DURATION)]
)
def test_a_holder_that_counts_longer_is_waited_for_and_nobody_for_less(seconds: Any, waits: float) -> None:
    observed = Observed("me")
    observed.see(lease(leaseDurationSeconds=seconds), 0.0)
    assert observed.free_in(0.0) == waits


def test_a_lease_that_was_given_back_or_is_ones_own_is_free() -> None:
    for holder in ("", None, "me"):
        observed = Observed("me")
        observed.see(lease(), 0.0)
        observed.see(lease(holderIdentity=holder), 1.0)
        assert observed.free_in(1.0) == 0


def test_a_lease_that_was_deleted_is_not_free_while_its_holder_may_act() -> None:
    observed = Observed("me")
    observed.see(None, 0.0)
    assert observed.free_in(0.0) == 0
    observed.see(lease(), 1.0)
    observed.see(None, 10.0)
    assert observed.free_in(10.0) == DURATION


# What a holder may do.


def test_a_term_ends_by_the_clock_and_leaves_time_to_each_write() -> None:
    term = Term(100.0)
    assert (term.left(100.0), term.left_to_write(100.0)) == (RENEW_DEADLINE, WRITE_DEADLINE)
    assert (term.left(109.0), term.left_to_write(109.0)) == (1.0, WRITE_DEADLINE - 9)
    assert (term.left(110.0), term.left_to_write(110.0)) == (0.0, 0.0)
    term.ended = True
    assert (term.left(100.0), term.left_to_write(100.0)) == (0.0, 0.0)


def test_identities_are_unique() -> None:
    assert new_identity() != new_identity()


# Electors on an API server.


@dataclass(slots=True, kw_only=True)
class Candidate:
    """An elector that notes when it leads."""

    kube: MemoryKube
    who: str
    skew: timedelta = timedelta()
    link: Link = field(init=False)
    leads: bool = False
    changes: list[tuple[float, bool]] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.link = Link(kube=self.kube, who=self.who)
        elector = Elector(
            self.link,
            namespace="system",
            name="kubetune",
            identity=self.who,
            now=lambda: virtual_time.now() + self.skew,
            seed=1,
        )
        self.task = asyncio.create_task(elector.lead(self._act, on_change=self._on_change))

    async def _act(self, term: Term) -> None:
        self.terms.append(term)
        await asyncio.Event().wait()

    def _on_change(self, leads: bool) -> None:
        self.leads = leads
        self.changes.append((asyncio.get_running_loop().time(), leads))

    @property
    def may_write(self) -> bool:
        return bool(self.terms) and self.terms[-1].left(asyncio.get_running_loop().time()) > 0

    @property
    def may_have_writes_under_way(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(now < term.renewed + WRITE_DEADLINE for term in self.terms)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def held_by(kube: MemoryKube) -> str:
    found: Object = next(kube.of_kind("Lease"))
    return str(found["spec"]["holderIdentity"])


def test_one_leads_and_the_other_waits() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one, two = Candidate(kube=kube, who="one"), Candidate(kube=kube, who="two")
        await asyncio.sleep(3600)
        assert [one.changes, two.changes] == [[(one.changes[0][0], True)], []]
        spec = next(kube.of_kind("Lease"))["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("one", 0)
        # About one update every two seconds by the holder, and one look by the other.
        assert 1500 <= sum(request.verb == "update" for request in kube.requests) <= 2300
        assert 1500 <= sum(request.verb == "get" for request in kube.requests) <= 2300

    virtual_time.run(main())


@pytest.mark.parametrize("skew", [timedelta(minutes=-10), timedelta(), timedelta(minutes=10)])
def test_clocks_that_differ_by_minutes_change_nothing(skew: timedelta) -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(1)
        two = Candidate(kube=kube, who="two", skew=skew)
        await asyncio.sleep(600)
        assert (one.leads, two.leads) == (True, False)
        lost = asyncio.get_running_loop().time()
        one.link.cut = True
        await asyncio.sleep(30)
        assert two.leads
        assert DURATION - 2.4 <= two.changes[0][0] - lost <= 30

    virtual_time.run(main())


def test_a_holder_that_gives_the_lease_back_is_followed_at_once() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(1)
        two = Candidate(kube=kube, who="two")
        await asyncio.sleep(60)
        await one.stop()
        assert held_by(kube) == ""
        await asyncio.sleep(2.5)
        assert two.leads
        assert next(kube.of_kind("Lease"))["spec"]["leaseTransitions"] == 1

    virtual_time.run(main())


def test_the_lease_is_given_back_after_the_last_thing_that_was_done() -> None:
    async def main() -> None:
        kube, done = MemoryKube(), []

        async def act(term: Term) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(40)  # longer than a term without renewals
                assert term.left(asyncio.get_running_loop().time()) > 0
                done.append(held_by(kube))

        elector = Elector(kube, namespace="system", name="kubetune", identity="one")
        task = asyncio.create_task(elector.lead(act, on_change=lambda _: None))
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert done == ["one"]
        assert held_by(kube) == ""

    virtual_time.run(main())


def test_a_lease_that_cannot_be_given_back_is_not_waited_for() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(10)
        one.link.cut = True
        await one.stop()
        assert asyncio.get_running_loop().time() <= 10 + REQUEST_LIMIT
        assert [leads for _, leads in one.changes] == [True, False]
        assert not one.may_write

    virtual_time.run(main())


def test_what_fails_while_leading_is_raised_and_the_lease_given_back() -> None:
    async def main() -> None:
        async def act(_term: Term) -> None:
            await asyncio.sleep(5)
            raise ValueError("a defect")

        kube = MemoryKube()
        elector = Elector(kube, namespace="system", name="kubetune", identity="one")
        with pytest.raises(ValueError, match="a defect"):
            await elector.lead(act, on_change=lambda _: None)
        assert held_by(kube) == ""

    virtual_time.run(main())


def test_a_few_renewals_that_fail_end_nothing() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one, two = Candidate(kube=kube, who="one"), Candidate(kube=kube, who="two")
        for _ in range(50):
            await asyncio.sleep(30)
            kube.before = _refuse
            await asyncio.sleep(6)
            kube.before = lambda _request: None
        assert [one.changes, two.changes] == [[(one.changes[0][0], True)], []]

    virtual_time.run(main())


def test_an_outage_longer_than_the_lease_ends_the_term_and_not_the_contention() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one, two = Candidate(kube=kube, who="one"), Candidate(kube=kube, who="two")
        await asyncio.sleep(30)
        kube.before = _refuse
        await asyncio.sleep(RENEW_DEADLINE + 1)
        assert not one.may_write
        await asyncio.sleep(80)
        assert [one.leads, two.leads] == [False, False]
        kube.before = lambda _request: None
        await asyncio.sleep(20)
        assert one.leads != two.leads

    virtual_time.run(main())


def test_a_holder_that_is_cut_off_stops_before_another_begins() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(1)
        two = Candidate(kube=kube, who="two")
        await asyncio.sleep(60)
        one.link.cut = True
        await asyncio.sleep(60)
        assert two.leads
        assert not one.may_write
        assert two.terms[0].renewed > one.terms[0].renewed + WRITE_DEADLINE
        one.link.cut = False
        await asyncio.sleep(600)
        assert len(one.terms) == len(two.terms) == 1

    virtual_time.run(main())


def test_a_term_counts_from_when_its_renewal_was_sent() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        one.link.back = lambda: 3.5
        await asyncio.sleep(60)
        assert one.terms[0].renewed <= asyncio.get_running_loop().time() - 3.5
        assert len(one.changes) == 1

    virtual_time.run(main())


def test_an_answer_that_is_lost_makes_nobody_lose_the_lease() -> None:
    async def main() -> None:
        kube = MemoryKube()
        lost = 0

        def lose(request: Request) -> None:
            nonlocal lost
            if request.kind == "Lease" and request.verb == "update":
                lost += 1
                if lost % 3 == 0:
                    raise TransientError("the connection broke after the update")

        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(1)
        two = Candidate(kube=kube, who="two")
        kube.after = lose
        await asyncio.sleep(600)
        assert lost > 100
        assert [len(one.changes), len(two.changes)] == [1, 0]

    virtual_time.run(main())


def test_somebody_who_edits_the_lease_does_not_end_the_term() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(1)
        two = Candidate(kube=kube, who="two")
        for _ in range(30):
            await asyncio.sleep(7)
            kube.change(next(kube.of_kind("Lease")), {"spec": {"leaseDurationSeconds": 1}})
        assert [len(one.changes), len(two.changes)] == [1, 0]

    virtual_time.run(main())


def test_a_lease_that_somebody_deletes_is_made_anew_by_its_holder() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(1)
        two = Candidate(kube=kube, who="two")
        for _ in range(30):
            await asyncio.sleep(7)
            kube.remove(next(kube.of_kind("Lease")))
        assert [len(one.changes), len(two.changes)] == [1, 0]

    virtual_time.run(main())


def test_a_holder_whose_lease_another_has_taken_stops_at_its_next_renewal() -> None:
    async def main() -> None:
        kube = MemoryKube()
        one = Candidate(kube=kube, who="one")
        await asyncio.sleep(30)
        kube.change(next(kube.of_kind("Lease")), {"spec": {"holderIdentity": "somebody"}})
        await asyncio.sleep(3)
        assert not one.may_write
        assert held_by(kube) == "somebody"
        await asyncio.sleep(DURATION + 3)
        assert one.leads

    virtual_time.run(main())


def test_of_several_that_come_at_once_one_wins() -> None:
    async def main() -> None:
        kube = MemoryKube()
        candidates = [Candidate(kube=kube, who=f"candidate-{n}") for n in range(10)]
        for _ in range(9):
            await asyncio.sleep(30)
            [leader] = [candidate for candidate in candidates if candidate.leads]
            leader.link.cut = True
            candidates.remove(leader)

    virtual_time.run(main())


def _refuse(request: Request) -> None:
    raise TransientError(f"{request}: 503")


def _seconds(high: float) -> st.SearchStrategy[float]:
    return st.floats(min_value=0.0, max_value=high)


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "slow there", "slow back", "edit", "delete", "restart"]),
        st.integers(min_value=0, max_value=1),
        _seconds(40.0),
        _seconds(40.0),
    ),
    max_size=8,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(faults=FAULTS)
def test_there_are_never_two_who_may_write(faults: list[tuple[str, int, float, float]]) -> None:
    """Neither while one may send writes nor while one that was sent could take effect."""

    async def main() -> None:
        kube = MemoryKube()
        candidates = [Candidate(kube=kube, who="one"), Candidate(kube=kube, who="two")]
        watching = asyncio.create_task(watch(candidates))
        for what, number, pause, lasts in faults:
            candidate = candidates[number]
            await asyncio.sleep(pause)
            await _inject(kube, candidate, what, lasts)
        for candidate in candidates:
            candidate.link.cut = False
            candidate.link.there = candidate.link.back = lambda: 0.0
        await asyncio.sleep(60)
        assert sum(candidate.leads for candidate in candidates) == 1
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        if not watching.cancelled():
            watching.result()

    async def watch(candidates: list[Candidate]) -> None:
        while True:
            await asyncio.sleep(0.05)
            for one, other in (candidates, candidates[::-1]):
                assert not (one.may_write and other.may_have_writes_under_way)

    virtual_time.run(main())


async def _inject(kube: MemoryKube, candidate: Candidate, what: str, lasts: float) -> None:
    link = candidate.link
    slow: Callable[[], float] = lambda: min(lasts, REQUEST_LIMIT * 2)  # noqa: E731
    match what:
        case "cut":
            link.cut = True
            await asyncio.sleep(lasts)
            link.cut = False
        case "slow there":
            link.there = slow
            await asyncio.sleep(lasts)
            link.there = lambda: 0.0
        case "slow back":
            link.back = slow
            await asyncio.sleep(lasts)
            link.back = lambda: 0.0
        case "edit":
            for raw in kube.of_kind("Lease"):
                kube.change(raw, {"spec": {"leaseDurationSeconds": 1, "renewTime": "never"}})
        case "delete":
            await asyncio.sleep(12)  # one that has never seen who holds it cannot know that anybody does
            for raw in kube.of_kind("Lease"):
                kube.remove(raw)
        case _:
            # Neither can one that starts when it was just deleted.
            while not any(kube.of_kind("Lease")):  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.1)
            link.cut = True  # what it was doing is lost, the Lease is not given back
            await candidate.stop()
            candidate.__post_init__()
