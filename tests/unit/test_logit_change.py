"""What a model does to its logits, found from three of them."""

from __future__ import annotations

import math

import pytest

from kubetune_trainer.methods.logit_change import PROBE, LogitChange, change_of


@pytest.mark.parametrize(
    "change",
    [
        LogitChange(),
        LogitChange(scale=0.0625),
        LogitChange(scale=1 / 6),
        LogitChange(scale=8.0),
        LogitChange(cap=15.0),
        LogitChange(cap=30.0),
        LogitChange(scale=0.5, cap=30.0),
    ],
)
def test_scales_and_caps_are_found(change: LogitChange) -> None:
    found = change_of([change.of(logit) for logit in PROBE])
    assert found is not None
    assert found.scale == pytest.approx(change.scale, rel=1e-5)
    assert (found.cap or 0) == pytest.approx(change.cap or 0, rel=1e-5)


@pytest.mark.parametrize(
    "found",
    [
        [0.0, 0.0, 0.0],
        [1.0, 20.0, 1000.0],  # rounded to 16 bits: the loss would not be
        [2.0, 21.0, 1001.125],
        [1.0, math.sqrt(20.0), math.sqrt(1000.125)],
        [-1.0, -20.0, -1000.125],
        [math.nan, 20.0, 1000.125],
        [1.0, 20.0],
    ],
)
def test_other_changes_are_not_guessed(found: list[float]) -> None:
    assert change_of(found) is None
