"""Learning that goes wrong while every number is finite."""

from __future__ import annotations

import random

import pytest

from kubetune_trainer.loop.guards import Guards, SpeedGuard

noise = random.Random(3)


def learned(steps: int, *, low: float = 1.0) -> list[float]:
    """Losses of a run that goes well: from 3 down, with the noise of small batches."""
    return [low + 2.0 / (1 + step / 5) + noise.uniform(-0.3, 0.3) * low for step in range(steps)]


def told(losses: list[float], norms: list[float] | None = None) -> list[str | None]:
    """What the guards say after each step."""
    guards = Guards([])
    pairs = zip(losses, norms or [None] * len(losses), strict=True)  # type: ignore[list-item]
    return [guards.observe(step, loss, norm) for step, (loss, norm) in enumerate(pairs, 1)]


@pytest.mark.parametrize("low", [1.0, 0.3, 0.001])
def test_a_run_that_goes_well_is_left_alone(low: float) -> None:
    norms = [1.0 + noise.random() for _ in range(500)]
    assert told(learned(500, low=low), norms) == [None] * 500


def test_a_loss_that_explodes_is_told_with_its_numbers() -> None:
    losses = learned(100) + [6.0] * 20
    said = told(losses)
    first = next(step for step, sentence in enumerate(said, 1) if sentence)
    assert 100 < first <= 108
    assert said[107] is not None
    assert said[107].startswith("Step 108: the loss is 6.00 over the last 8 steps, after ")
    assert set(said[:100]) == {None}


def test_a_loss_that_rises_from_the_first_step_is_told() -> None:
    assert told([2.0] * 8 + [9.0] * 8)[-1] is not None


def test_a_single_odd_step_is_none_but_makes_suspicious() -> None:
    guards = Guards([])
    for step, loss in enumerate(learned(50), 1):
        assert guards.observe(step, loss, 1.0) is None
    assert not guards.suspicious
    assert guards.observe(51, 8.0, 1.0) is None
    assert guards.suspicious
    assert guards.observe(52, 1.2, 1.0) is None
    assert not guards.suspicious


def test_a_loss_that_comes_back_to_where_it_began_and_no_further_is_none() -> None:
    assert told([3.0] * 8 + [0.5] * 20 + [2.9] * 20) == [None] * 48


def test_norms_out_of_their_range_for_many_steps_are_told() -> None:
    norms = [1.0 + noise.random() for _ in range(60)] + [50.0] * 30
    said = told([1.0] * 90, norms)
    first = next(step for step, sentence in enumerate(said, 1) if sentence)
    assert first == 80, "twenty of them"
    assert said[79] is not None
    assert said[79].startswith("Step 80: the gradient's norm is at least 50 for 20 steps, after 1.")
    assert said[-1] is not None, "what is usual does not follow"


def test_norms_that_are_odd_now_and_then_are_none() -> None:
    norms = [50.0 if step % 15 == 0 else 1.0 for step in range(300)]
    assert told([1.0] * 300, norms) == [None] * 300


def test_a_speed_that_collapses_is_told_until_it_is_back() -> None:
    guard = SpeedGuard()
    speeds = [1000.0 + noise.uniform(-300, 300) for _ in range(100)] + [300.0] * 90 + [1000.0] * 90
    said = [guard.observe(step, speed) for step, speed in enumerate(speeds, 1)]
    assert set(said[:100]) == {None}
    assert said[150] is not None
    assert "300 tokens per second over the last 50 steps, after " in said[150]
    assert said[-1] is None


def test_what_an_earlier_attempt_saw_counts() -> None:
    before = [(step, loss, None) for step, loss in enumerate([2.0] * 8 + [0.5] * 20, 1)]
    guards = Guards(list(before))
    assert [bool(guards.observe(step, 5.0, None)) for step in range(29, 37)][-1]
