"""Chooses the rows that ``dataset.validationFraction`` holds out; rows that are alike stay on one side."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from ..contract.errors import DataInvalid
from .compared import Digests, short
from .dataset import MIN_ROWS, Split

Rows = npt.NDArray[np.int64]
"""Indices or numbers of rows."""


def split_off(split: Split, fraction: Decimal, *, seed: int) -> tuple[Split, Split]:
    """Take a fraction of the rows (at least one) for validation, chosen by the seed alone."""
    total = len(split.digests)
    count = max(1, int(total * fraction))
    if total - count < MIN_ROWS:
        raise DataInvalid(
            f"dataset.validationFraction {fraction} leaves {total - count} of the {total} rows for training, "
            f"which must be at least {MIN_ROWS}: lower it, or give more rows."
        )
    keys = [short(split.digests)]
    if split.compared is not None:
        keys.append(split.compared.wholes)
    chosen = choose(alike(keys), count, most=total - MIN_ROWS, seed=seed)
    if not chosen:
        raise DataInvalid(
            f"Too many of the {total} rows are the same for dataset.validationFraction: they stay together, "
            f"and at least {MIN_ROWS} are left to train on. Remove duplicates, or give more rows."
        )
    left = sorted(set(range(total)).difference(chosen))
    return split.select(left), split.select(chosen)


def alike(keys: Sequence[Digests]) -> Rows:
    """For each row the first of its group: rows that share a key of any kind, also by way of a third.

    ``keys`` has an array for each kind, with the key of each row.
    """
    heads = np.arange(len(keys[0]))

    def head(row: int) -> int:
        while heads[row] != row:
            heads[row] = heads[heads[row]]
            row = int(heads[row])
        return row

    for kind in keys:
        _, first, which = np.unique(kind, return_index=True, return_inverse=True)
        equal = first[which]
        for row in np.flatnonzero(equal != np.arange(len(equal))).tolist():
            one, other = head(int(equal[row])), head(row)
            heads[max(one, other)] = min(one, other)
    while (further := heads[heads] != heads).any():
        heads[further] = heads[heads[further]]
    return heads


def choose(heads: Rows, count: int, *, most: int, seed: int) -> list[int]:
    """``count`` rows in whole groups, or somewhat fewer; if none is that small, the smallest up to ``most``.

    ``heads`` is what ``alike`` returns. Where each row is a group of its own the rows are
    ``Random(seed).sample(range(total), count)``. Rows come in their order.
    """
    groups, sizes = np.unique(heads, return_counts=True)
    source = random.Random(seed)
    order = source.sample(range(len(groups)), min(count, len(groups)))
    if len(groups) < len(heads):  # else these are as many rows
        rest = sorted(set(range(len(groups))).difference(order))
        source.shuffle(rest)
        order = _fitting([*order, *rest], sizes, count)
    if not order and sizes.min() <= most:
        order = [int(sizes.argmin())]
    return np.flatnonzero(np.isin(heads, groups[order])).tolist() if order else []


def _fitting(order: Sequence[int], sizes: Rows, count: int) -> list[int]:
    """The groups that add up to ``count`` rows or fewer, in this order; larger ones are passed over."""
    chosen, rows = [], 0
    for index in order:
        if rows + sizes[index] <= count:
            chosen.append(index)
            rows += int(sizes[index])
    return chosen
