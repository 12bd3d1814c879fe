"""Panels over time: lines, areas on each other, bars, points."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dev.viewer.canvas import Box, Canvas
from dev.viewer.dashboard import Panel
from dev.viewer.prometheus import Series
from dev.viewer.theme import PALETTE
from dev.viewer.units import scale_of, show
from dev.viewer.variables import Shown

_LETTERS = 10.5
_AXIS = 10
_LINE = 17
"""Height of a line of the legend."""
_GAP = 14

Named = tuple[str, Series]


def graph(canvas: Canvas, box: Box, panel: Panel, answer: Sequence[Named], shown: Shown) -> None:
    """Draw one panel; its legend says each series' latest value."""
    lines = _legend(canvas, panel, answer, box.width - 8)
    room = max(1, int((box.height * 0.4) // _LINE))
    if len(lines) > room:
        lines = lines[:room]
        lines[-1] = [(f"and more: {len(answer)} in all", canvas.theme.faint)]
    plot = box.inside(20, 4, 8, 24 + _LINE * len(lines) + 4)
    axes = canvas.axes(plot)
    _plot(axes, panel, answer, shown)
    _limit(axes, panel)
    texts = _heights(axes, panel, most=max(2, int(plot.height // 45)))
    margin = max(canvas.width_of(text, size=_AXIS) for text in texts) if texts else 0
    plot = plot.inside(min(margin, box.width / 3), 0, 0, 0)
    axes.set_position(canvas.place(plot))
    _frame(canvas, axes, panel, shown, most=max(2, int(plot.width // 75)))
    y = box.y + box.height - _LINE * len(lines) + _LINE / 2 - 2
    for line in lines:
        x = box.x + 4
        for words, color in line:
            if color != canvas.theme.faint:
                canvas.rectangle(Box(x, y - 2, 11, 3), color)
                x += 15
            canvas.text(x, y, words, size=_LETTERS, room=box.x + box.width - x)
            x += canvas.width_of(words, size=_LETTERS) + _GAP
        y += _LINE


def _legend(
    canvas: Canvas, panel: Panel, answer: Sequence[Named], room: float
) -> list[list[tuple[str, str]]]:
    """Return lines of names with values and colours, as many in a line as there is room for."""
    lines: list[list[tuple[str, str]]] = []
    left = 0.0
    for place, (name, series) in enumerate(answer):
        words = f"{name}  {show(series.last, panel.defaults.unit, panel.defaults.decimals)}"
        width = canvas.width_of(words, size=_LETTERS) + _GAP + 15
        if not lines or width > left:
            lines.append([])
            left = room
        lines[-1].append((words, PALETTE[place % len(PALETTE)]))
        left -= width
    return lines


def _plot(axes: Axes, panel: Panel, answer: Sequence[Named], shown: Shown) -> None:
    style = panel.custom.get("drawStyle", "line")
    stacked = (panel.custom.get("stacking") or {}).get("mode") == "normal"
    opacity = float(panel.custom.get("fillOpacity") or 0) / 100
    width = float(panel.custom.get("lineWidth") or 1)
    times = _times(shown)
    below = [0.0] * len(times)
    for place, (_, series) in enumerate(answer):
        color = PALETTE[place % len(PALETTE)]
        values = _on(times, series, shown.step)
        if stacked:
            top = [
                low + (0 if math.isnan(value) else value) for low, value in zip(below, values, strict=True)
            ]
            there = [not math.isnan(value) for value in values]
            axes.fill_between(times, below, top, where=there, color=color, alpha=opacity or 0.3, linewidth=0)
            drawn = [t if not math.isnan(v) else math.nan for t, v in zip(top, values, strict=True)]
            axes.plot(times, drawn, color=color, linewidth=width)
            below = top
        elif style == "bars":
            several = len(answer)
            wide = shown.step * 0.8 / several
            places = [time + (place - (several - 1) / 2) * wide for time in times]
            axes.bar(
                places, [0 if math.isnan(v) else v for v in values], width=wide, color=color, alpha=opacity
            )
        elif style == "points":
            axes.plot(times, values, color=color, linestyle="", marker="o", markersize=4)
        else:
            axes.plot(times, values, color=color, linewidth=width * 0.75)
            alone = _alone(values)
            axes.plot([times[i] for i in alone], [values[i] for i in alone], ".", color=color, markersize=5)


def _limit(axes: Axes, panel: Panel) -> None:
    """Set the limits of the values, which lie above zero where they are all zero."""
    low, high = axes.get_ylim()
    low = panel.defaults.low if panel.defaults.low is not None else low
    high = panel.defaults.high if panel.defaults.high is not None else high
    flat = axes.dataLim.ymax <= 0 or not math.isfinite(axes.dataLim.ymax)
    axes.set_ylim(low, low + 1 if high <= low or flat else high)


def _heights(axes: Axes, panel: Panel, *, most: int) -> list[str]:
    """Set the ticks of the values, and return what stands at them."""
    low, high = axes.get_ylim()
    unit = panel.defaults.unit
    scale = scale_of(max(abs(low), abs(high)), unit)
    places = MaxNLocator(most, integer=panel.defaults.decimals == 0)
    ticks = [tick * scale for tick in places.tick_values(low / scale, high / scale)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    texts = [_tick(tick, unit) for tick in ticks]
    axes.set_yticks(ticks, texts)
    return texts


def _frame(canvas: Canvas, axes: Axes, panel: Panel, shown: Shown, *, most: int) -> None:
    """Draw lines of thresholds, the grid, and what stands at the axes."""
    theme = canvas.theme
    low, high = axes.get_ylim()
    axes.set_xlim(shown.start, shown.end)
    if (panel.custom.get("thresholdsStyle") or {}).get("mode") == "dashed":
        for value, name in panel.defaults.thresholds:
            if low < value < high:
                axes.axhline(value, color=theme.color(name), linewidth=1, linestyle=(0, (6, 4)))
    axes.grid(color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=_AXIS * 0.72, colors=theme.faint, pad=4)
    ticks = _time_ticks(shown, most)
    axes.set_xticks(ticks, [_clock(tick, shown) for tick in ticks])


def _tick(height: float, unit: str) -> str:
    """Return what stands at an axis, with as few decimals as it needs."""
    for decimals in range(4):
        text = show(height, unit, decimals)
        if math.isclose(_digits(text), _digits(show(height, unit, decimals + 3)), rel_tol=1e-6):
            return text
    return show(height, unit)


def _digits(text: str) -> float:
    """Return the number that a text begins with."""
    found = re.match(r"-?[\d.]+", text)
    return float(found[0]) if found else math.nan


def _times(shown: Shown) -> list[float]:
    count = math.floor((shown.end - shown.start) / shown.step + 1e-6) + 1
    return [shown.start + place * shown.step for place in range(count)]


def _on(times: Sequence[float], series: Series, step: float) -> list[float]:
    """Return a value for each time, and no number where the series has none: a gap is a gap."""
    values = [math.nan] * len(times)
    for time, value in series.points:
        place = round((time - times[0]) / step)
        if 0 <= place < len(values):
            values[place] = value
    return values


def _alone(values: Sequence[float]) -> list[int]:
    """Return places whose neighbours have no value: a line of one point is not seen."""
    around: list[Any] = [math.nan, *values, math.nan]
    return [
        place
        for place, value in enumerate(values)
        if not math.isnan(value) and math.isnan(around[place]) and math.isnan(around[place + 2])
    ]


def _time_ticks(shown: Shown, most: int) -> list[float]:
    steps = (60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
    span = shown.end - shown.start
    step = next((each for each in steps if span / each <= max(2, most)), steps[-1])
    first = math.ceil(shown.start / step) * step
    return [first + place * step for place in range(int((shown.end - first) // step) + 1)]


def _clock(time: float, shown: Shown) -> str:
    form = "%H:%M" if shown.end - shown.start <= 86400 else "%m/%d %H:%M"
    return datetime.fromtimestamp(time, UTC).strftime(form)
