"""Drawings of a report as inline SVG: intervals on one axis, and losses over steps.

What is what is told by shape and words, never by colour alone, so that grey paper shows it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..pages.text import escaped
from ..scoring import figures
from ..scoring.report import Interval

_WIDTH: Final = 480
_MARGIN: Final = 12
_ROW: Final = 44
_LABEL: Final = 34
"""Characters of a name in a drawing; its title has all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One interval of a drawing."""

    name: str
    interval: Interval
    told: str
    """Its numbers in words."""
    full: bool = False
    """A full mark instead of a hollow one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that intervals are compared with."""

    value: float
    text: str
    dashed: bool = False


def intervals(identity: str, title: str, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """Intervals below each other on one axis; those that are no numbers are left out."""
    lines = [line for line in lines if _are_numbers(line.interval)]
    if not lines:
        return ""
    values = [value for line in lines for value in (line.interval.low, line.interval.high)]
    axis = Axis.around([*values, *(mark.value for mark in marks)], _MARGIN, _WIDTH - _MARGIN)
    top = 6 + 18 * len(marks)
    bottom = top + _ROW * len(lines)
    parts = [_ticks(axis, top, bottom)]
    for index, mark in enumerate(marks):
        parts.append(_mark(axis.at(mark.value), mark, 14 + 18 * index, bottom))
    for index, line in enumerate(lines):
        parts.append(_interval(axis, line, top + _ROW * index))
    spoken = "; ".join(f"{line.name}: {line.told}" for line in lines)
    return _svg(identity, title, spoken, bottom + 24, parts)


def losses(identity: str, points: Sequence[tuple[int, float | None, float | None]]) -> str:
    """Training and validation loss by step; empty without any."""
    training = [(step, loss) for step, loss, _ in points if loss is not None and math.isfinite(loss)]
    validation = [(step, loss) for step, _, loss in points if loss is not None and math.isfinite(loss)]
    both = training + validation
    if not both:
        return ""
    top, bottom, left, right = 10, 210, 44, _WIDTH - _MARGIN
    x = Axis.around([step for step, _ in both], left, right, tight=True)
    y = Axis.around([loss for _, loss in both], bottom, top)
    parts = [
        f'<line class="grid" x1="{left}" x2="{right}" y1="{y.at(tick):.1f}" y2="{y.at(tick):.1f}"/>'
        f'<text class="note" x="{left - 6}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{y.label(tick)}</text>'
        for tick in y.ticks
    ]
    parts += [
        f'<text class="note" x="{x.at(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:,.0f}</text>'
        for tick in x.ticks
        if tick == int(tick)
    ]
    parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    if len(training) > 1:
        parts.append(f'<polyline class="mark thin" points="{_points(x, y, training)}"/>')
    if len(validation) > 1:
        parts.append(f'<polyline class="mark dashed" points="{_points(x, y, validation)}"/>')
    if len(training) == 1:
        parts.append(_dot(x.at(training[0][0]), y.at(training[0][1]), full=True))
    parts += [_dot(x.at(step), y.at(loss), full=False) for step, loss in _few(validation)]
    parts.append(f'<text class="note" x="{right}" y="{bottom + 36}" text-anchor="end">Step</text>')
    spoken = "; ".join(
        f"{name}: from {series[0][1]:.3f} to {series[-1][1]:.3f}"
        for name, series in (("training", training), ("validation", validation))
        if series
    )
    return _svg(identity, "Loss by step", spoken, bottom + 42, parts)


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to places, linear, with ticks at round values."""

    low: float
    high: float
    start: float
    end: float
    step: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, *, tight: bool = False) -> Axis:
        """An axis that shows all values; ``tight`` ends at the outermost ones, else at ticks."""
        low, high = min(values), max(values)
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        step = _round_step((high - low) / 4)
        if not tight:
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(low, high, start, end, step)

    def at(self, value: float) -> float:
        """Where a value is."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values on the axis."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]

    def label(self, tick: float) -> str:
        """A tick with as many decimals as the step has."""
        decimals = max(0, -math.floor(math.log10(self.step) + 1e-9))
        return f"{tick + 0.0:,.{decimals}f}"


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((power * factor for factor in (1, 2, 5) if power * factor >= least * 0.999), power * 10)


def _are_numbers(interval: Interval) -> bool:
    return all(math.isfinite(value) for value in (interval.mean, interval.low, interval.high))


def _ticks(axis: Axis, top: float, bottom: float) -> str:
    return "".join(
        f'<line class="grid" x1="{axis.at(tick):.1f}" x2="{axis.at(tick):.1f}" y1="{top}" y2="{bottom}"/>'
        f'<text class="note" x="{axis.at(tick):.1f}" y="{bottom + 17}" text-anchor="{_anchor(axis, tick)}">'
        f"{axis.label(tick)}</text>"
        for tick in axis.ticks
    )


def _anchor(axis: Axis, value: float) -> str:
    """Where a text begins that must not leave the drawing."""
    place = (axis.at(value) - axis.start) / (axis.end - axis.start)
    return "start" if place < 0.08 else "end" if place > 0.92 else "middle"


def _mark(x: float, mark: Mark, y: float, bottom: float) -> str:
    anchor = "start" if x < _WIDTH * 0.15 else "end" if x > _WIDTH * 0.85 else "middle"
    style = "axis dashed" if mark.dashed else "axis"
    return (
        f'<text class="note" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escaped(mark.text)}</text>'
        f'<line class="{style}" stroke-width="1.5" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 4}" y2="{bottom}"/>'
    )


def _interval(axis: Axis, line: Line, top: float) -> str:
    name = line.name if len(line.name) <= _LABEL else f"{line.name[: _LABEL - 3]}..."
    low, high = axis.at(line.interval.low), axis.at(line.interval.high)
    y = top + 29
    ends = "".join(
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 5}" y2="{y + 5}"/>' for x in (low, high)
    )
    return (
        f"<g><title>{escaped(line.name)}: {escaped(line.told)}</title>"
        f'<text x="{_MARGIN}" y="{top + 15}">{escaped(name)}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{top + 15}" text-anchor="end">{escaped(line.told)}</text>'
        f'<line class="mark" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>{ends}'
        f"{_dot(axis.at(line.interval.mean), y, full=line.full, radius=5)}</g>"
    )


def _dot(x: float, y: float, *, full: bool, radius: float = 3) -> str:
    return f'<circle class="{"full" if full else "hollow"}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _few(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """So many that dots do not cover each other."""
    return points[:: max(1, len(points) // 30)]


def _points(x: Axis, y: Axis, points: Sequence[tuple[int, float]]) -> str:
    return " ".join(f"{x.at(step):.1f},{y.at(loss):.1f}" for step, loss in points)


def _svg(identity: str, title: str, spoken: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-labelledby="{identity}-title {identity}-text">'
        f'<title id="{identity}-title">{escaped(title)}</title>'
        f'<desc id="{identity}-text">{escaped(spoken)}</desc>{"".join(parts)}</svg>\n'
    )


def score_line(name: str, interval: Interval, *, full: bool) -> Line:
    """A candidate's score."""
    return Line(name, interval, figures.with_interval(interval), full)


def difference_line(name: str, interval: Interval) -> Line:
    """The tuned model against another."""
    return Line(name, interval, figures.difference(interval), full=True)
