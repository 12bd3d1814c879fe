"""Every row once per epoch, in batches that are the same on any number of ranks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kubetune_trainer.data.sampler import (
    FILLER,
    MAX_MICRO_BATCH,
    MAX_MICRO_TOKENS,
    Batching,
    TrainBatches,
    evaluation_batches,
    global_batches,
    planned_steps,
    steps_per_epoch,
)

LENGTHS = st.lists(st.integers(1, 64) | st.sampled_from([2048, 2049, 5000, 40_000]), min_size=1, max_size=300)
GLOBAL_BATCH = st.integers(1, 40)
WORLD = st.integers(1, 4)


@given(LENGTHS, GLOBAL_BATCH, WORLD, st.integers(0, 3))
def test_every_row_is_trained_on_once_per_epoch(
    lengths: list[int], batch: int, world: int, epoch: int
) -> None:
    batching = Batching.of(batch, world, longest=max(lengths))
    seen: Counter[int] = Counter()
    for rank in range(world):
        batches = TrainBatches(lengths, batching, rank=rank, seed=3)
        batches.set_epoch(epoch)
        for rows in batches:
            seen.update(row for row in rows if row != FILLER)
    assert seen == Counter(range(len(lengths)))


@given(LENGTHS, GLOBAL_BATCH, WORLD)
def test_every_rank_makes_the_same_number_of_forward_passes(
    lengths: list[int], batch: int, world: int
) -> None:
    batching = Batching.of(batch, world, longest=max(lengths))
    expected = steps_per_epoch(len(lengths), batch) * batching.accumulation
    for rank in range(world):
        batches = TrainBatches(lengths, batching, rank=rank, seed=3)
        passes = list(batches)
        assert len(passes) == len(batches) == expected
        assert all(0 < len(rows) <= batching.micro_batch <= MAX_MICRO_BATCH for rows in passes)
        assert all(fits(rows, lengths) for rows in passes)


def fits(rows: list[int], lengths: list[int]) -> bool:
    """Whether a forward pass, padded to its longest row, is not larger than it may be."""
    longest = max(0 if row == FILLER else lengths[row] for row in rows)
    return len(rows) == 1 or len(rows) * longest <= MAX_MICRO_TOKENS


@given(LENGTHS, GLOBAL_BATCH, WORLD)
def test_a_step_holds_the_same_rows_on_any_number_of_ranks(
    lengths: list[int], batch: int, world: int
) -> None:
    steps = global_batches(lengths, batch, seed=3, epoch=1)
    batching = Batching.of(batch, world, longest=max(lengths))
    for rows in steps:
        spread = [row for rank in range(world) for part in batching.micro_batches(rows, rank) for row in part]
        assert sorted(row for row in spread if row != FILLER) == sorted(rows)


@given(LENGTHS, st.data(), GLOBAL_BATCH, WORLD)
def test_every_validation_row_that_is_asked_for_is_scored_once(
    lengths: list[int], data: st.DataObject, batch: int, world: int
) -> None:
    asked = data.draw(st.sets(st.integers(0, len(lengths) - 1)))
    batching = Batching.of(batch, world, longest=max(lengths))
    ranks = [evaluation_batches(lengths, asked, batching, rank=rank) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert all(fits(rows, lengths) for batches in ranks for rows in batches)
    rows = [row for batches in ranks for part in batches for row in part if row != FILLER]
    assert sorted(rows) == sorted(asked)


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


def test_a_global_batch_is_spread_in_few_even_micro_batches() -> None:
    def shape(batch: int, world: int, longest: int = 1024) -> tuple[int, int]:
        batching = Batching.of(batch, world, longest=longest)
        return batching.micro_batch, batching.accumulation

    assert shape(8, 1) == (8, 1)
    assert shape(8, 2) == (4, 1)
    assert shape(32, 2) == (8, 2)
    assert shape(24, 2) == (6, 2)
    assert shape(10, 4) == (3, 1)
    assert shape(32, 2, longest=4096) == (4, 4)
    assert shape(32, 2, longest=100_000) == (1, 16)


def test_max_steps_caps_the_epochs() -> None:
    assert planned_steps(41, 8, epochs=2, max_steps=None) == 12
    assert planned_steps(41, 8, epochs=2, max_steps=7) == 7
    assert planned_steps(41, 8, epochs=2, max_steps=100) == 12
