"""Notices learning that goes wrong while every number is still finite. Pure: it knows only what steps report.

Each guard compares the latest steps with the run before them, so that no level has to be known beforehand,
and looks at several, since single ones have odd rows.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, median

_LOSSES, _NORMS, _SPEEDS = 8, 20, 50
"""Latest steps over which losses are averaged, and over which norms and speeds have to be out of range: a
neighbour on the node, or rows of another length, make some steps slow."""

_BEFORE = 200
"""Steps before them that they are compared with."""

_LOSS_FACTOR = 2.0
_NORM_FACTOR = 10.0
_SPEED_FACTOR = 0.5


class LossGuard:
    """A mean loss that is above the run's first and at least twice its lowest."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_LOSSES)
        self._first: float | None = None
        self._lowest, self._lowest_step = math.inf, 0

    def observe(self, step: int, loss: float) -> str | None:
        """What is wrong after a step; None when nothing is."""
        self._latest.append(loss)
        if len(self._latest) < _LOSSES:
            return None
        mean = fmean(self._latest)
        self._first = mean if self._first is None else self._first
        if mean < self._lowest:
            self._lowest, self._lowest_step = mean, step
        if not self._is_high(mean):
            return None
        return (
            f"Step {step}: the loss is {mean:.2f} over the last {_LOSSES} steps, after {self._lowest:.2f} "
            f"at step {self._lowest_step}."
        )

    @property
    def suspicious(self) -> bool:
        """Whether the latest step alone is as high."""
        return bool(self._latest) and self._is_high(self._latest[-1])

    def _is_high(self, loss: float) -> bool:
        return self._first is not None and loss > self._first and loss >= _LOSS_FACTOR * self._lowest


class _Range:
    """Compares the latest values with the median of those before them, which odd ones do not join."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._latest: deque[float] = deque(maxlen=steps)
        self._before: deque[float] = deque(maxlen=_BEFORE)
        self.usual: float | None = None

    def add(self, value: float, *, odd: bool) -> list[float]:
        """The latest values, as soon as there are enough before them to compare with."""
        if len(self._latest) == self._steps and not odd:
            self._before.append(self._latest[0])
        self._latest.append(value)
        self.usual = median(self._before) if len(self._before) >= self._steps else None
        return list(self._latest) if self.usual is not None else []


class NormGuard:
    """Norms of the gradient, before clipping, that all are ten times what was usual."""

    def __init__(self) -> None:
        self.suspicious = False
        """Whether the latest is."""
        self._range = _Range(_NORMS)
        self._odd = False

    def observe(self, step: int, norm: float) -> str | None:
        """What is wrong after a step; None when nothing is."""
        latest, usual = self._range.add(norm, odd=self._odd), self._range.usual
        self.suspicious = usual is not None and norm > _NORM_FACTOR * usual
        self._odd = usual is not None and min(latest) > _NORM_FACTOR * usual
        if not self._odd:
            return None
        return (
            f"Step {step}: the gradient's norm is at least {min(latest):.3g} for {_NORMS} steps, after "
            f"{usual:.3g} before."
        )


class SpeedGuard:
    """Less than half of the tokens per second that were usual in this attempt."""

    def __init__(self) -> None:
        self._range = _Range(_SPEEDS)
        self._odd = False

    def observe(self, step: int, tokens_per_second: float) -> str | None:
        """What is wrong after a step; None when nothing is."""
        latest, usual = self._range.add(tokens_per_second, odd=self._odd), self._range.usual
        self._odd = usual is not None and median(latest) < _SPEED_FACTOR * usual
        if not self._odd:
            return None
        return (
            f"Step {step}: {median(latest):.0f} tokens per second over the last {_SPEEDS} steps, after "
            f"{usual:.0f} before. Look at the nodes: clocks, neighbours, the network."
        )


class Guards:
    """What the learning itself shows: the same on every rank, since all are told the same numbers."""

    def __init__(self, history: list[tuple[int, float, float | None]]) -> None:
        """``history``: step, loss and norm of each step that the run has done before."""
        self._loss, self._norm = LossGuard(), NormGuard()
        for step, loss, norm in history:
            self.observe(step, loss, norm)

    def observe(self, step: int, loss: float, norm: float | None) -> str | None:
        """How learning diverges after a step; None when it does not. ``norm`` is not always told."""
        by_loss = self._loss.observe(step, loss)
        by_norm = None if norm is None else self._norm.observe(step, norm)
        return by_loss or by_norm

    @property
    def suspicious(self) -> bool:
        """Whether the latest step may be the first of many: then what was saved before it is still needed."""
        return self._loss.suspicious or self._norm.suspicious
