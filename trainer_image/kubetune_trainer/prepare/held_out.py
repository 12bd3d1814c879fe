"""Chooses the rows that ``dataset.validationFraction`` holds out; rows that are alike stay on one side."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from decimal import Decimal

from ..contract.errors import DataInvalid
from .dataset import MIN_ROWS, Split


def split_off(split: Split, fraction: Decimal, *, seed: int) -> tuple[Split, Split]:
    """Take a fraction of the rows (at least one) for validation, chosen by the seed alone."""
    total = len(split.digests)
    count = max(1, int(total * fraction))
    if total - count < MIN_ROWS:
        raise DataInvalid(
            f"dataset.validationFraction {fraction} leaves {total - count} of the {total} rows for training, "
            f"which must be at least {MIN_ROWS}: lower it, or give more rows."
        )
    keys: list[Iterable[Hashable]] = [split.digests]
    if split.compared is not None:
        keys.append(split.compared.wholes.tolist())
    chosen = sorted(choose(alike(total, keys), count, most=total - MIN_ROWS, seed=seed))
    if not chosen:
        raise DataInvalid(
            f"Too many of the {total} rows are the same for dataset.validationFraction: they stay together, "
            f"and at least {MIN_ROWS} are left to train on. Remove duplicates, or give more rows."
        )
    left = sorted(set(range(total)).difference(chosen))
    return split.select(left), split.select(chosen)


def alike(total: int, keys: Iterable[Iterable[Hashable]]) -> list[list[int]]:
    """Groups of rows that have a key of any kind in common, also by way of a third; in order of the first.

    ``keys`` has an iterable for each kind, with the key of each row.
    """
    parents = list(range(total))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for kind in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(kind):
            one, other = root(first.setdefault(key, row)), root(row)
            parents[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for row in range(total):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def choose(groups: list[list[int]], count: int, *, most: int, seed: int) -> list[int]:
    """``count`` rows in whole groups, or somewhat fewer; if none is that small, the smallest up to ``most``.

    Where each row is a group of its own the rows are ``Random(seed).sample(range(total), count)``.
    """
    source = random.Random(seed)
    order = source.sample(range(len(groups)), min(count, len(groups)))
    rest = sorted(set(range(len(groups))).difference(order))
    source.shuffle(rest)
    chosen: list[int] = []
    for index in (*order, *rest):
        if len(chosen) + len(groups[index]) <= count:
            chosen += groups[index]
    smallest = min(groups, key=len)
    return chosen or (smallest if len(smallest) <= most else [])
