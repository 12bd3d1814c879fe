"""Checkpoints are as frequent as they are cheap, and every rank saves after the same step."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_trainer.contract.errors import Preempted
from kubetune_trainer.gang.stop import StopFlag
from kubetune_trainer.loop.checkpoint_interval import (
    FIRST_STEPS,
    LEAST_SECONDS,
    SECONDS_BETWEEN_FAILURES,
    CheckpointInterval,
    seconds_between,
)

if TYPE_CHECKING:
    from kubetune_trainer.gang.peers import Peers


def by_time(*, has_none: bool = False) -> CheckpointInterval:
    return CheckpointInterval(every_steps=None, began=1000.0, has_none=has_none)


def test_steps_that_the_job_says_are_all_that_counts() -> None:
    interval = CheckpointInterval(every_steps=40, began=0.0, has_none=True)
    interval.saved(0.0, seconds=1000.0)
    assert [step for step in range(1, 201) if interval.due(step, now=1e9)] == [40, 80, 120, 160, 200]


def test_the_first_comes_after_few_steps_or_the_least_interval() -> None:
    interval = by_time(has_none=True)
    assert not interval.due(FIRST_STEPS - 1, now=1000.0 + LEAST_SECONDS - 1)
    assert interval.due(FIRST_STEPS, now=1001.0)
    assert interval.due(1, now=1000.0 + LEAST_SECONDS)


def test_a_resumed_run_has_one_already() -> None:
    assert not by_time().due(FIRST_STEPS, now=1001.0)
    assert by_time().due(1, now=1000.0 + LEAST_SECONDS)


def test_expensive_ones_are_rarer() -> None:
    interval = by_time()
    interval.saved(2000.0, seconds=180.0)
    assert seconds_between(180.0) == pytest.approx(5577, abs=1)
    assert not interval.due(500, now=2000.0 + 5576)
    assert interval.due(500, now=2000.0 + 5578)


@given(cost=st.floats(3.0, 1e4), factor=st.floats(0.1, 10.0))
def test_no_other_interval_loses_less(cost: float, factor: float) -> None:
    """Time that goes into saving, and into repeating half an interval after each failure."""

    def lost(interval: float) -> float:
        return cost / interval + interval / 2 / SECONDS_BETWEEN_FAILURES

    best = seconds_between(cost)
    assert lost(best) <= lost(best * factor) * (1 + 1e-9)


@pytest.mark.parametrize("cost", [None, 0.0, 0.3, 2.0])
def test_cheap_ones_have_the_least_interval_and_take_little_of_it(cost: float | None) -> None:
    assert seconds_between(cost) == LEAST_SECONDS
    assert (cost or 0) / LEAST_SECONDS < 0.005


def test_a_full_volume_is_not_asked_after_every_step() -> None:
    interval = by_time(has_none=True)
    interval.passed_over(5000.0)
    assert not interval.due(FIRST_STEPS + 1, now=5001.0)
    assert interval.due(FIRST_STEPS + 1, now=5000.0 + LEAST_SECONDS)


class Others:
    """Peers of which another rank has set flags too."""

    def __init__(self, *flags: bool) -> None:
        self.flags = flags or (False, False, False)
        self.asked = 0

    def any_of(self, flags: list[bool]) -> list[bool]:
        self.asked += 1
        return [own or other for own, other in zip(flags, self.flags, strict=True)]


def stepping(now: list[float]) -> StopFlag:
    """A rank in the middle of training, at a time that the test moves."""

    def leave(_: Preempted) -> None:
        raise AssertionError("it would end at once")

    flag = StopFlag(leave, clock=lambda: now[0])
    flag.stepping()
    return flag


def agree(flag: StopFlag, others: Others, **how: object) -> tuple[bool, bool]:
    """Whether all stop, and whether they save."""
    stops = flag.agree(cast("Peers", others), **how)  # type: ignore[arg-type]
    return stops, flag.saves


def test_every_rank_saves_when_the_first_wants_to() -> None:
    others = Others(False, True, False)
    flag = stepping([0.0])
    assert agree(flag, others) == (False, True)
    assert agree(flag, Others()) == (False, False), "the next step"
    assert agree(flag, Others(), save=True) == (False, True)
    assert others.asked == 1, "stop and checkpoint are one question"


@pytest.mark.parametrize(
    ("waited", "save_seconds", "saves"),
    [(0.0, 0.3, True), (5.0, 10.0, True), (5.1, 10.0, False), (0.0, 13.0, False), (0.0, None, False)],
)
def test_who_is_stopped_saves_if_the_grace_period_is_long_enough(
    waited: float, save_seconds: float | None, saves: bool
) -> None:
    now = [100.0]
    flag = stepping(now)
    flag.ask()
    now[0] += waited
    assert agree(flag, Others(), save_seconds=save_seconds) == (True, saves)


def test_others_save_only_if_the_stopped_rank_can() -> None:
    assert agree(stepping([0.0]), Others(True, False, False), save_seconds=99.0) == (True, True)
    assert agree(stepping([0.0]), Others(True, False, True), save_seconds=0.1, save=True) == (True, False)
