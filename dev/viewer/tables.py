"""Panels with rows and columns."""

from __future__ import annotations

from dev.viewer.canvas import Box, Canvas
from dev.viewer.dashboard import Panel
from dev.viewer.frames import Cell, Table
from dev.viewer.units import show

_ROW = 28
_LETTERS = 12
_MOST_WIDE = 420


def draw_table(canvas: Canvas, box: Box, panel: Panel, table: Table) -> None:
    """Draw as many rows as there is room for, and say how many there are."""
    theme = canvas.theme
    room = max(1, int(box.height // _ROW) - 1)
    rows = table.rows[:room]
    if len(rows) < len(table.rows):
        rows = rows[:-1]
        words = f"1 to {len(rows)} of {len(table.rows)} rows"
        canvas.text(
            box.x + box.width - 8, box.y + box.height - 10, words, size=11, color=theme.faint, across="right"
        )
    cells = [[_words(panel, name, row.get(name)) for name in table.columns] for row in rows]
    wanted = [
        min(_MOST_WIDE, max(canvas.width_of(text, size=_LETTERS) for text in (name, *column)) + 24)
        for name, column in zip(table.columns, _columns(cells, len(table.columns)), strict=True)
    ]
    scale = box.width / sum(wanted)
    widths = [width * scale for width in wanted]
    x = box.x
    for name, width in zip(table.columns, widths, strict=True):
        canvas.text(
            x + 8, box.y + _ROW / 2, name, size=_LETTERS, color=theme.link, bold=True, room=width - 12
        )
        x += width
    for place, row in enumerate(cells, start=1):
        top = box.y + place * _ROW
        canvas.rectangle(Box(box.x, top, box.width, 1), theme.border)
        x = box.x
        for name, text, width in zip(table.columns, row, widths, strict=True):
            field = panel.overrides.get(name, panel.defaults)
            color = theme.link if field.link else None
            canvas.text(x + 8, top + _ROW / 2, text, size=_LETTERS, color=color, room=width - 12)
            x += width


def _words(panel: Panel, column: str, cell: Cell | None) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    field = panel.overrides.get(column, panel.defaults)
    return show(cell, field.unit, field.decimals)


def _columns(cells: list[list[str]], count: int) -> list[list[str]]:
    return [[row[place] for row in cells] for place in range(count)]
