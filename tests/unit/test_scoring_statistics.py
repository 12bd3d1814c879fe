"""Intervals and what rows can show: known answers, closed forms, and coverage by simulation."""

from __future__ import annotations

import math
import random
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest

from kubetune_trainer.scoring.report import Interval
from kubetune_trainer.scoring.statistics import detectable, interval, versus

SEED = 1
NORMAL = NormalDist().inv_cdf(0.975)


def bits(right: int, rows: int) -> list[float]:
    return [1.0] * right + [0.0] * (rows - right)


@pytest.mark.slow
def test_many_rows_have_the_interval_of_the_central_limit() -> None:
    source = random.Random(5)
    scores = [source.betavariate(2, 1) for _ in range(4000)]

    found = interval(scores, confidence=0.95, seed=SEED)

    half = NORMAL * stdev(scores) / math.sqrt(len(scores))
    assert found.mean == mean(scores)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.0008)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
def test_a_proportion_has_the_interval_of_the_central_limit(confidence: float) -> None:
    found = interval(bits(600, 1000), confidence=confidence, seed=SEED)

    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(0.6 * 0.4 / 1000)
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.002)


def test_a_paired_difference_has_the_interval_of_the_central_limit() -> None:
    """Of paired proportions: the variance is (wins + losses - (wins - losses)^2 / n) / n^2."""
    tuned, other = bits(300, 1000), bits(200, 300) + bits(50, 700)

    found = versus(tuned, other, confidence=0.95, seed=SEED)

    assert (found.wins, found.losses, found.ties) == (100, 50, 850)
    half = NORMAL * math.sqrt(150 - 50**2 / 1000) / 1000
    assert found.difference.mean == pytest.approx(0.05)
    assert found.difference.low == pytest.approx(0.05 - half, abs=0.001)
    assert found.difference.high == pytest.approx(0.05 + half, abs=0.001)


def test_pairs_are_closer_than_their_scores() -> None:
    """Both are right in the same rows: what varies between rows does not count."""
    tuned, other = bits(500, 1000), bits(480, 1000)

    difference = versus(tuned, other, confidence=0.95, seed=SEED).difference

    assert 0.01 < difference.low < difference.high < 0.04


def test_the_same_scores_have_the_same_interval_in_any_order() -> None:
    scores = [index % 7 / 6 for index in range(150)]
    mixed = random.Random(3).sample(scores, len(scores))

    assert interval(scores, confidence=0.9, seed=4) == interval(mixed, confidence=0.9, seed=4)
    assert interval(scores, confidence=0.9, seed=4) != interval(scores, confidence=0.9, seed=5)


def test_a_few_rows_that_are_all_right_prove_little() -> None:
    found = interval(bits(3, 3), confidence=0.95, seed=SEED)

    assert found.mean == 1
    assert found.low <= 0.5


@pytest.mark.parametrize(("wins", "shown"), [(1, False), (5, False), (6, True), (20, True)])
def test_a_difference_is_shown_by_as_many_wins_as_the_sign_test_asks_for(wins: int, shown: bool) -> None:
    """Six heads in a row are rarer than one in forty, five are not."""
    found = versus(bits(wins, 100), bits(0, 100), confidence=0.95, seed=SEED)

    assert (found.difference.low > 1e-9) is shown


def test_candidates_that_answer_alike_do_not_differ() -> None:
    found = versus(bits(40, 80), bits(40, 80), confidence=0.95, seed=SEED)

    assert (found.wins, found.losses, found.ties) == (0, 0, 80)
    assert found.difference.mean == 0
    assert found.difference.low < 0 < found.difference.high


@pytest.mark.parametrize("rows", [10, 30, 200])
@pytest.mark.parametrize("chance", [0.5, 0.8, 0.95, 0.99])
def test_intervals_of_scores_hold_the_truth_as_often_as_they_say(rows: int, chance: float) -> None:
    """Each number of right answers by its probability; without the two rows it is 0.1 at worst."""
    covered = 0.0
    for right in range(rows + 1):
        found = interval(bits(right, rows), confidence=0.95, seed=SEED)
        if found.low - 1e-9 <= chance <= found.high + 1e-9:
            covered += math.comb(rows, right) * chance**right * (1 - chance) ** (rows - right)

    assert covered >= 0.925


@pytest.mark.parametrize(("wins", "losses"), [(0.05, 0.05), (0.1, 0.02), (0.3, 0.1), (0.5, 0.0)])
def test_intervals_of_differences_hold_the_truth_as_often_as_they_say(wins: float, losses: float) -> None:
    source = np.random.default_rng(7)
    trials, covered = 200, 0
    for _ in range(trials):
        won, lost, _ = source.multinomial(40, [wins, losses, 1 - wins - losses])
        tuned, other = bits(won, 40), [0.0] * int(won) + bits(lost, 40 - int(won))
        found = versus(tuned, other, confidence=0.95, seed=SEED).difference
        covered += found.low - 1e-9 <= wins - losses <= found.high + 1e-9

    assert covered >= 0.92 * trials


def test_what_rows_show_is_the_binomial_of_six_wins() -> None:
    smallest = detectable(80, confidence=0.95)

    fewer = sum(math.comb(80, won) * smallest**won * (1 - smallest) ** (80 - won) for won in range(6))
    assert 1 - fewer == pytest.approx(0.8, abs=1e-4)
    assert smallest == pytest.approx(0.097, abs=0.001)


@pytest.mark.slow
def test_what_rows_show_is_what_the_comparison_finds() -> None:
    """With that difference and no losses, about four of five evaluations find it."""
    source = np.random.default_rng(2)
    smallest = detectable(80, confidence=0.95)
    found = [
        versus(bits(won, 80), bits(0, 80), confidence=0.95, seed=SEED).difference.low > 1e-9
        for won in source.binomial(80, smallest, size=300)
    ]

    assert mean(found) == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize(
    ("rows", "confidence", "power", "least"),
    [
        (6, 0.95, 0.8, 0.8 ** (1 / 6)),  # all six have to be won
        (5, 0.95, 0.8, math.inf),
        (0, 0.95, 0.8, math.inf),
        (5, 0.9, 0.5, 0.5 ** (1 / 5)),
    ],
)
def test_so_few_rows_show(rows: int, confidence: float, power: float, least: float) -> None:
    assert detectable(rows, confidence=confidence, power=power) == pytest.approx(least, abs=1e-5)


def test_more_rows_show_less_and_more_confidence_takes_more() -> None:
    shown = [detectable(rows, confidence=0.95) for rows in (10, 50, 200, 1000, 100_000)]

    assert shown == sorted(shown, reverse=True)
    assert (
        detectable(200, confidence=0.99) > detectable(200, confidence=0.95) > detectable(200, confidence=0.8)
    )


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_no_matrix_of_them() -> None:
    """All different, which would be 8 GB of indices."""
    scores = np.random.default_rng(1).random(100_000).tolist()

    found = interval(scores, confidence=0.95, seed=SEED)

    half = NORMAL * stdev(scores) / math.sqrt(len(scores))
    assert found.low == pytest.approx(found.mean - half, abs=0.0003)


def test_without_scores_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="no scores"):
        interval([], confidence=0.95, seed=SEED)
    with pytest.raises(ValueError, match="shorter"):
        versus([1.0], [], confidence=0.95, seed=SEED)


def test_one_row_has_an_interval() -> None:
    assert interval([0.5], confidence=0.95, seed=SEED) == Interval(mean=0.5, low=0.0, high=1.0)
