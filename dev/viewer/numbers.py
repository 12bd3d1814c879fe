"""Panels without time: large numbers, and bars beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dev.viewer.canvas import Box, Canvas
from dev.viewer.dashboard import Field, Panel
from dev.viewer.prometheus import Series
from dev.viewer.units import show

Named = tuple[str, Series]

_ROW = 20
"""Height that a bar has at least."""


def threshold(field: Field, value: float) -> str:
    """Return the name of the colour that a value has."""
    found = "blue"
    for least, color in field.thresholds:
        if math.isnan(value) or value >= least:
            found = color
    return found


def stat(canvas: Canvas, box: Box, panel: Panel, answer: Sequence[Named]) -> None:
    """Draw each series as a number, a name, or both."""
    mode = panel.options.get("textMode", "auto")
    beside = box.width > box.height * 2
    for place, (name, series) in enumerate(answer):
        share = 1 / len(answer)
        if beside:
            part = Box(box.x + box.width * share * place, box.y, box.width * share, box.height)
        else:
            part = Box(box.x, box.y + box.height * share * place, box.width, box.height * share)
        color = canvas.theme.color(threshold(panel.defaults, series.last))
        value = show(series.last, panel.defaults.unit, panel.defaults.decimals)
        large = name if mode == "name" else value
        middle = part.y + part.height / 2
        if mode == "value_and_name":
            canvas.text(part.x + part.width / 2, part.y + 10, name, size=13, across="center", room=part.width)
            middle += 8
        size = canvas.size_that_fits(large, part.width - 16, most=min(40, part.height * 0.5), bold=True)
        canvas.text(
            part.x + part.width / 2, middle, large, size=size, color=color, bold=True, across="center"
        )


def bars(canvas: Canvas, box: Box, panel: Panel, answer: Sequence[Named]) -> None:
    """Draw each series as a bar with its name before it and its value behind it."""
    shown = list(answer[: max(1, int(box.height // _ROW))])
    if len(shown) < len(answer):
        shown = shown[:-1]
        more = f"and {len(answer) - len(shown)} more"
        canvas.text(box.x + 4, box.y + box.height - 8, more, size=11, color=canvas.theme.faint)
        box = box.inside(0, 0, 0, _ROW)
    field = panel.defaults
    highest = max((series.last for _, series in answer if math.isfinite(series.last)), default=1)
    low, high = field.low or 0, field.high if field.high is not None else highest
    names = max(canvas.width_of(name, size=12) for name, _ in shown) + 12
    names = min(names, box.width * 0.5)
    texts = [show(series.last, field.unit, field.decimals) for _, series in shown]
    values = max(canvas.width_of(text, size=13, bold=True) for text in texts) + 12
    height = min(box.height / len(shown), 44)
    for place, ((name, series), text) in enumerate(zip(shown, texts, strict=True)):
        middle = box.y + height * (place + 0.5)
        color = canvas.theme.color(threshold(field, series.last))
        canvas.text(box.x + names - 8, middle, name, size=12, across="right", room=names - 8)
        whole = Box(box.x + names, middle - height * 0.36, box.width - names - values, height * 0.72)
        canvas.rectangle(whole, canvas.theme.unfilled)
        share = 0.0 if high <= low else min(1.0, max(0.0, (series.last - low) / (high - low)))
        if share > 0:
            canvas.rectangle(Box(whole.x, whole.y, max(2.0, whole.width * share), whole.height), color)
        canvas.text(whole.x + whole.width + 8, middle, text, size=13, color=color, bold=True)
