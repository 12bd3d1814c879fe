"""How sure a mean is: intervals by a seeded bootstrap, paired by row, and what so many rows can show. Pure.

Percentile intervals (Efron & Tibshirani 1993, chapter 13) of rows that are drawn again. By themselves they
are too narrow near an end of the scale: if all of three rows are right, every draw of them is, and the
interval has no width; BCa's (chapter 14) are no better there. So two rows are drawn with the others, one at
each end of the scale, which is what Agresti & Coull (1998) do for a proportion, and Bonett & Price (2012)
for the difference of two that are paired. With hundreds of rows it changes little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .report import Interval, Versus

RESAMPLES: Final = 10_000
_AT_ONCE: Final = 2_000_000
"""Counts that are held in memory: 16 MB."""


def interval(scores: Sequence[float], *, confidence: float, seed: int) -> Interval:
    """The mean of scores from 0 to 1, and the interval that holds the true one with this confidence.

    The same scores, in whatever order, and the same seed have the same interval.

    Raises:
        ValueError: there are no scores.
    """
    return _interval(np.asarray(scores, dtype=np.float64), ends=(0.0, 1.0), confidence=confidence, seed=seed)


def versus(tuned: Sequence[float], other: Sequence[float], *, confidence: float, seed: int) -> Versus:
    """Compare two candidates by their scores of the same rows, in the same order.

    Raises:
        ValueError: there are no scores, or not as many of both.
    """
    pairs = list(zip(tuned, other, strict=True))
    differences = np.asarray([one - two for one, two in pairs], dtype=np.float64)
    wins, losses = sum(one > two for one, two in pairs), sum(one < two for one, two in pairs)
    return Versus(
        difference=_interval(differences, ends=(-1.0, 1.0), confidence=confidence, seed=seed),
        wins=wins,
        losses=losses,
        ties=len(pairs) - wins - losses,
    )


def detectable(rows: int, *, confidence: float, power: float = 0.8) -> float:
    """The smallest true difference that so many rows show, with the probability ``power``; inf if none does.

    Assumes the best case: rows are right or wrong, and none is lost that the other candidate has right. Then
    the exact test of paired proportions (McNemar 1947) asks for so many wins that as many heads in a row are
    rarer than half of what the confidence leaves, 6 for 0.95; and their number is binomial. Where rows are
    lost as well it takes about (wins + losses) / (wins - losses) times as many.
    """
    wins = math.ceil(math.log2(2 / (1 - confidence)))
    if rows < wins:
        return math.inf
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        fewer = sum(math.comb(rows, won) * middle**won * (1 - middle) ** (rows - won) for won in range(wins))
        low, high = (low, middle) if 1 - fewer >= power else (middle, high)
    return high


def _interval(
    values: NDArray[np.float64], *, ends: tuple[float, float], confidence: float, seed: int
) -> Interval:
    if not values.size:
        raise ValueError("no scores")
    means = _means(np.concatenate([values, ends]), np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(mean=math.fsum(values) / len(values), low=float(low), high=float(high))


def _means(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Means of resamples: how often each distinct value is drawn is multinomial.

    With three decimals there are few of them, whatever the number of rows; what rounding changes cancels out.
    """
    distinct, counts = np.unique(np.round(values, 3), return_counts=True)
    rows = len(values)
    step = max(1, _AT_ONCE // len(distinct))
    parts = [
        random.multinomial(rows, counts / rows, size=min(step, RESAMPLES - start)) @ distinct / rows
        for start in range(0, RESAMPLES, step)
    ]
    return np.concatenate(parts)
