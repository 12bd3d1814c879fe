"""Validation rows are looked at often enough to see a curve, and seldom enough to cost little."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubetune_trainer.sizing.looks import SAMPLE_ROWS, ValidationPlan
from tests.support.training_runs import training_config

PLAN = ValidationPlan(rows=1000, total_steps=25, steps_per_epoch=10, look_every=4)


def test_all_rows_are_scored_around_the_run_and_its_epochs_and_a_sample_between() -> None:
    looks = {step: PLAN.scores_all(step) for step in range(26) if PLAN.due(step)}
    assert [step for step, whole in looks.items() if whole] == [0, 10, 20, 25]
    assert [step for step, whole in looks.items() if not whole] == [4, 8, 12, 16, 24]


def test_the_sample_is_the_same_at_every_look_and_changes_with_the_seed() -> None:
    sample, rest = PLAN.split(7)
    assert (sample, rest) == PLAN.split(7)
    assert len(sample) == SAMPLE_ROWS
    assert sorted(sample + rest) == list(range(1000))
    assert PLAN.split(8)[0] != sample


def test_few_rows_are_all_in_the_sample() -> None:
    few = ValidationPlan(rows=9, total_steps=25, steps_per_epoch=10, look_every=4)
    assert few.split(7) == (list(range(9)), [])


@given(st.integers(1, 600), st.integers(1, 60), st.integers(1, 20), st.integers(1, 20), st.integers(0, 60))
def test_what_is_left_to_score_is_the_sum_of_the_looks(
    rows: int, total: int, epoch: int, every: int, step: int
) -> None:
    plan = ValidationPlan(rows=rows, total_steps=total, steps_per_epoch=epoch, look_every=every)
    looks = [later for later in range(step, total + 1) if plan.due(later)]
    assert plan.rows_from(step) == sum(rows if plan.scores_all(look) else plan.sample_rows for look in looks)


def test_at_the_defaults_scoring_is_a_small_part_of_the_work() -> None:
    """30,000 rows and a tenth of them for validation; a forward pass is a third of a training step."""
    config = training_config(batch_size=32, epochs=3, checkpoint_every_steps=None).training
    plan = ValidationPlan.of(config, train_rows=27_000, validation_rows=3_000)
    assert plan is not None
    assert plan.rows_from(0) / 3 < 0.08 * 3 * 27_000


def test_without_validation_rows_there_is_no_plan() -> None:
    config = training_config().training
    assert ValidationPlan.of(config, train_rows=100, validation_rows=0) is None
