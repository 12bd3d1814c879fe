"""Which rows make up which step: a pure function of row lengths, global batch, seed and epoch.

Nothing here depends on the number of ranks, so that a global batch holds the same rows on any of them, and a
resume continues in the same order. A step's rows are divided into as few forward passes as the memory allows
for. A rank without a row of its own in a pass gets a filler, which has no labels: every rank takes part in
every collective, and no row is lost, repeated or weighted differently.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SAMPLER_NAME = "length-buckets/3"
"""Written into checkpoints: a checkpoint of another order is refused. Raise it when the order changes."""

FILLER = -1
"""Index of a row without labels."""

_SPAN = 32
"""Global batches sorted by length together: padding falls to 1 %, and the order stays random beyond it."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Batching:
    """How a global batch is spread over ranks and forward passes."""

    global_batch: int
    world_size: int
    most_tokens: int
    """Padded tokens of one forward pass on one rank; a single row may be longer."""

    @property
    def rows_per_rank(self) -> int:
        """Rows of a global batch that the busiest rank has."""
        return math.ceil(self.global_batch / self.world_size)

    def passes(self, rows: Iterable[int], lengths: Sequence[int], rank: int) -> list[list[int]]:
        """One rank's forward passes over some rows: as few as hold them, as many on every rank.

        ``lengths`` are the tokens of all rows. Each pass has at least a filler."""
        order = sorted(rows, key=lengths.__getitem__, reverse=True)
        parts = []
        while order:  # the longest first: it says how many fit
            size = max(1, self.most_tokens // max(1, lengths[order[0]])) * self.world_size
            parts.append(order[:size])
            del order[:size]
        # Strided, since neighbours are of similar length: every rank gets about the same number of tokens.
        return [part[rank :: self.world_size] or [FILLER] for part in parts]


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


class TrainSteps:
    """One rank's steps of training, each a list of forward passes; ``set_epoch`` chooses the order."""

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
        return steps_per_epoch(len(self._lengths), self._batching.global_batch)

    def __iter__(self) -> Iterator[list[list[int]]]:
        steps = global_batches(self._lengths, self._batching.global_batch, seed=self._seed, epoch=self._epoch)
        for rows in steps:
            yield self._batching.passes(rows, self._lengths, self._rank)
