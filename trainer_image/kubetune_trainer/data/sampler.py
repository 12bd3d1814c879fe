"""Which rows make up which step: a pure function of row lengths, global batch, seed and epoch.

Nothing here depends on the number of ranks, so that a global batch holds the same rows on any of them, and a
resume continues in the same order. A rank without a row of its own in a micro-batch gets a filler, which has
no labels: every rank takes part in every collective, and no row is lost, repeated or weighted differently.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SAMPLER_NAME = "length-buckets/2"
"""Written into checkpoints: a checkpoint of another order is refused. Raise it when the order changes, or how
a step is divided into forward passes, which changes how sums are rounded."""

FILLER = -1
"""Index of a row without labels."""

MAX_MICRO_BATCH = 8
"""Rows of one forward pass on one rank: the largest that pays on a GPU of ordinary size; more are
accumulated."""

MAX_MICRO_TOKENS = 16_384
"""Padded tokens of one forward pass on one rank: 8 rows of 2,048 tokens fill a GPU, and 8 of 8,192 would not
fit. A single row may be longer."""

_SPAN = 32
"""Global batches sorted by length together: padding falls to 1 %, and the order stays random beyond it."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Batching:
    """How a global batch is spread over ranks and micro-batches."""

    global_batch: int
    world_size: int
    micro_batch: int
    """Rows of one forward pass on one rank."""
    accumulation: int
    """Forward passes of one optimizer step."""

    @classmethod
    def of(cls, global_batch: int, world_size: int, *, longest: int) -> Batching:
        """Spread a global batch evenly, in the fewest micro-batches that hold any rows of the data.

        ``longest`` is the longest row in tokens. It decides for all steps, since each has the same number of
        forward passes throughout a run; it comes with the data, so that a resume divides alike."""
        rows = math.ceil(global_batch / world_size)
        accumulation = math.ceil(rows / _most_rows(longest))
        return cls(
            global_batch=global_batch,
            world_size=world_size,
            micro_batch=math.ceil(rows / accumulation),
            accumulation=accumulation,
        )

    def micro_batches(self, rows: Sequence[int], rank: int) -> list[list[int]]:
        """One rank's micro-batches of one global batch; each has at least a filler."""
        size = math.ceil(len(rows) / self.accumulation)
        parts = [rows[start * size : (start + 1) * size] for start in range(self.accumulation)]
        # Strided, since neighbours are of similar length: every rank gets about the same number of tokens.
        return [list(part[rank :: self.world_size]) or [FILLER] for part in parts]


def steps_per_epoch(rows: int, global_batch: int) -> int:
    """Optimizer steps of one epoch; the last one may have fewer rows."""
    return math.ceil(rows / global_batch)


def planned_steps(rows: int, global_batch: int, *, epochs: int, max_steps: int | None) -> int:
    """Optimizer steps of a run; ``max_steps`` caps the epochs."""
    steps = epochs * steps_per_epoch(rows, global_batch)
    return steps if max_steps is None else min(steps, max_steps)


def global_batches(lengths: Sequence[int], global_batch: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The steps of an epoch: every row once, rows of similar length together, steps in random order."""
    generator = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    steps: list[list[int]] = []
    for start in range(0, len(order), global_batch * _SPAN):
        part = sorted(order[start : start + global_batch * _SPAN], key=lengths.__getitem__)
        steps += [part[index : index + global_batch] for index in range(0, len(part), global_batch)]
    partial = steps.pop() if steps and len(steps[-1]) < global_batch else None
    generator.shuffle(steps)
    return steps if partial is None else [*steps, partial]


class TrainBatches:
    """Batch sampler of one rank's training rows; ``set_epoch`` chooses the order."""

    def __init__(self, lengths: Sequence[int], batching: Batching, *, rank: int, seed: int) -> None:
        self._lengths = lengths
        self._batching = batching
        self._rank = rank
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self._epoch = epoch

    def __len__(self) -> int:
        steps = steps_per_epoch(len(self._lengths), self._batching.global_batch)
        return steps * self._batching.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        steps = global_batches(self._lengths, self._batching.global_batch, seed=self._seed, epoch=self._epoch)
        for rows in steps:
            yield from self._batching.micro_batches(rows, self._rank)


def evaluation_batches(
    lengths: Sequence[int], rows: Iterable[int], batching: Batching, *, rank: int
) -> list[list[int]]:
    """One rank's batches of these validation rows by length: each once, the same number on every rank."""
    order = sorted(rows, key=lengths.__getitem__, reverse=True)
    parts = []
    while order:  # the longest first: it says how many fit
        size = min(batching.micro_batch, _most_rows(lengths[order[0]])) * batching.world_size
        parts.append(order[:size])
        del order[:size]
    return [part[rank :: batching.world_size] or [FILLER] for part in parts]


def _most_rows(longest: int) -> int:
    """Rows of up to so many tokens that one forward pass takes."""
    return max(1, min(MAX_MICRO_BATCH, MAX_MICRO_TOKENS // max(1, longest)))
