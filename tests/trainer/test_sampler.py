"""Every row once per epoch, in batches that are the same on any number of ranks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kubetune_trainer.data.sampler import (
    FILLER,
    Batching,
    TrainSteps,
    global_batches,
    planned_steps,
    steps_per_epoch,
)

LENGTHS = st.lists(st.integers(1, 64) | st.sampled_from([2048, 2049, 5000, 40_000]), min_size=1, max_size=300)
GLOBAL_BATCH = st.integers(1, 40)
WORLD = st.integers(1, 4)


BUDGET = st.sampled_from([1, 64, 1000, 16_384])


def batching_of(batch: int, world: int, budget: int) -> Batching:
    return Batching(global_batch=batch, world_size=world, most_tokens=budget)


@given(LENGTHS, GLOBAL_BATCH, WORLD, BUDGET, st.integers(0, 3))
def test_every_row_is_trained_on_once_per_epoch(
    lengths: list[int], batch: int, world: int, budget: int, epoch: int
) -> None:
    seen: Counter[int] = Counter()
    for rank in range(world):
        steps = TrainSteps(lengths, batching_of(batch, world, budget), rank=rank, seed=3)
        steps.set_epoch(epoch)
        for passes in steps:
            seen.update(row for rows in passes for row in rows if row != FILLER)
    assert seen == Counter(range(len(lengths)))


@given(LENGTHS, GLOBAL_BATCH, WORLD, BUDGET)
def test_every_rank_makes_the_same_number_of_passes_that_fit(
    lengths: list[int], batch: int, world: int, budget: int
) -> None:
    batching = batching_of(batch, world, budget)
    ranks = [list(TrainSteps(lengths, batching, rank=rank, seed=3)) for rank in range(world)]
    assert {len(steps) for steps in ranks} == {steps_per_epoch(len(lengths), batch)}
    for step in zip(*ranks, strict=True):
        assert len({len(passes) for passes in step}) == 1
        for rows in (rows for passes in step for rows in passes):
            longest = max(0 if row == FILLER else lengths[row] for row in rows)
            assert len(rows) == 1 or len(rows) * longest <= budget


@given(LENGTHS, GLOBAL_BATCH, WORLD, BUDGET)
def test_a_step_holds_the_same_rows_on_any_number_of_ranks(
    lengths: list[int], batch: int, world: int, budget: int
) -> None:
    batching = batching_of(batch, world, budget)
    for rows in global_batches(lengths, batch, seed=3, epoch=1):
        spread = [row for r in range(world) for part in batching.passes(rows, lengths, r) for row in part]
        assert sorted(row for row in spread if row != FILLER) == sorted(rows)


def test_one_long_row_divides_its_own_step_only() -> None:
    lengths = [100] * 63 + [10_000]
    batching = batching_of(32, 1, 4000)
    passes = [len(step) for step in TrainSteps(lengths, batching, rank=0, seed=3)]
    assert sorted(passes) == [1, 2]


def test_the_order_changes_with_the_epoch_and_the_seed_only() -> None:
    lengths = [1 + row % 9 for row in range(64)]
    first = global_batches(lengths, 8, seed=3, epoch=0)
    assert first == global_batches(lengths, 8, seed=3, epoch=0)
    assert first != global_batches(lengths, 8, seed=3, epoch=1)
    assert first != global_batches(lengths, 8, seed=4, epoch=0)


def test_rows_of_a_step_are_of_similar_length() -> None:
    lengths = [1 + (row * 37) % 100 for row in range(400)]
    steps = global_batches(lengths, 8, seed=3, epoch=0)
    padded = sum(len(rows) * max(lengths[row] for row in rows) for rows in steps)
    assert sum(lengths) / padded > 0.95


def test_a_global_batch_is_spread_in_few_passes() -> None:
    def shape(batch: int, world: int, length: int) -> list[int]:
        passes = batching_of(batch, world, 16_384).passes(range(batch), [length] * batch, 0)
        return [len(rows) for rows in passes]

    assert shape(8, 1, 1024) == [8]
    assert shape(8, 2, 1024) == [4]
    assert shape(32, 1, 1024) == [16, 16]
    assert shape(10, 4, 1024) == [3]
    assert shape(32, 2, 4096) == [4, 4, 4, 4]
    assert shape(4, 2, 100_000) == [1, 1]


def test_max_steps_caps_the_epochs() -> None:
    assert planned_steps(41, 8, epochs=2, max_steps=None) == 12
    assert planned_steps(41, 8, epochs=2, max_steps=7) == 7
    assert planned_steps(41, 8, epochs=2, max_steps=100) == 12
