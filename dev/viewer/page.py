"""A whole dashboard: its head, and each panel in its place of the grid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from dev.viewer.canvas import Box, Canvas
from dev.viewer.dashboard import Dashboard, Panel
from dev.viewer.frames import table
from dev.viewer.graphs import graph
from dev.viewer.numbers import bars, stat
from dev.viewer.prometheus import Series
from dev.viewer.tables import draw_table
from dev.viewer.theme import Theme
from dev.viewer.variables import Shown

NOTICE = "Drawn by KubeTune's own viewer from the dashboard's JSON and Prometheus. This is not Grafana."
_WIDTH = 1600
_COLUMNS = 24
_CELL = 38
"""Height of a unit of the grid, as in Grafana: 30 and a gap of 8."""
_GAP = 8
_HEAD = 74

Answers = Mapping[str, Sequence[Series]]
"""The series that each query of a panel has found, by its letter."""


def draw(
    board: Dashboard,
    answers: Sequence[Answers],
    chosen: Mapping[str, str],
    shown: Shown,
    theme: Theme,
    path: Path,
) -> None:
    """Write a PNG of a dashboard; `answers` has an entry for each panel, in their order."""
    height = _HEAD + max(panel.y + panel.height for panel in board.panels) * _CELL + _GAP
    canvas = Canvas(_WIDTH, height, theme)
    _head(canvas, board, chosen, shown)
    for panel, found in zip(board.panels, answers, strict=True):
        _panel(canvas, panel, found, shown)
    canvas.save(path)


def legend(form: str, series: Series) -> str:
    """Return a series' name: a query's legend with labels' values in it."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: series.labels.get(found[1], ""), form)


def _head(canvas: Canvas, board: Dashboard, chosen: Mapping[str, str], shown: Shown) -> None:
    canvas.text(16, 24, board.title, size=20, bold=True)
    start, end = (datetime.fromtimestamp(time, UTC) for time in (shown.start, shown.end))
    words = [
        f"{variable.label}: {'All' if chosen[variable.name] == variable.all_value else chosen[variable.name]}"
        for variable in board.variables
    ]
    words.append(f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    canvas.text(16, 54, "     ".join(words), size=13, color=canvas.theme.faint)
    wide = canvas.width_of(NOTICE, size=13, bold=True) + 24
    canvas.rectangle(Box(_WIDTH - wide - 16, 10, wide, 28), canvas.theme.named["orange"], round_=4)
    canvas.text(_WIDTH - 28, 24, NOTICE, size=13, bold=True, color="#FFFFFF", across="right")


def _panel(canvas: Canvas, panel: Panel, answers: Answers, shown: Shown) -> None:
    column = (_WIDTH - _GAP) / _COLUMNS
    box = Box(
        _GAP + panel.x * column,
        _HEAD + panel.y * _CELL,
        panel.width * column - _GAP,
        panel.height * _CELL - _GAP,
    )
    if panel.kind == "row":
        canvas.text(box.x + 4, box.y + box.height / 2, f"▾  {panel.title}", size=15, bold=True)
        return
    canvas.rectangle(box, canvas.theme.panel, border=canvas.theme.border, round_=2)
    canvas.text(box.x + 10, box.y + 16, panel.title, size=13, bold=True, room=box.width - 16)
    inner = box.inside(8, 32, 8, 6)
    if not any(answers.values()):
        middle = inner.y + inner.height / 2
        canvas.text(
            box.x + box.width / 2, middle, "No data", size=13, color=canvas.theme.faint, across="center"
        )
        return
    named = [
        (legend(target.legend, series), series)
        for target in panel.targets
        for series in answers[target.letter]
    ]
    match panel.kind:
        case "timeseries":
            graph(canvas, inner, panel, named, shown.of(panel))
        case "stat":
            stat(canvas, inner, panel, named)
        case "bargauge":
            bars(canvas, inner, panel, named)
        case _:
            draw_table(canvas, inner, panel, table(panel, answers))
