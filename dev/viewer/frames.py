"""Tables: answers to several queries joined, and their columns named, as Grafana's transformations do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dev.viewer.dashboard import Panel
from dev.viewer.prometheus import Series

Cell = str | float
Row = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns in their order, and rows."""

    columns: Sequence[str]
    rows: Sequence[Row]


def table(panel: Panel, answers: Mapping[str, Sequence[Series]]) -> Table:
    """Join the answers by query's letter, then name, order, hide and sort as the panel says."""
    frames = [_frame(letter, series, several=len(answers) > 1) for letter, series in answers.items()]
    rows = _merge(frames)
    options = panel.organize or {}
    hidden = {name for name, is_hidden in (options.get("excludeByName") or {}).items() if is_hidden}
    places: Mapping[str, int] = options.get("indexByName") or {}
    names: Mapping[str, str] = options.get("renameByName") or {}
    columns = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
    columns.sort(key=lambda name: places.get(name, len(places)))
    named = [{names.get(name, name): row[name] for name in columns if name in row} for row in rows]
    for order in reversed(panel.options.get("sortBy") or []):
        by = str(order["displayName"])
        named.sort(key=lambda row: _order(row.get(by)), reverse=bool(order.get("desc")))
    return Table([names.get(name, name) for name in columns], named)


def _frame(letter: str, answer: Sequence[Series], *, several: bool) -> list[Row]:
    """Return a row for each series, with the labels and a value that is called as Grafana calls it."""
    value = f"Value #{letter}" if several else "Value"
    return [
        {**{k: v for k, v in series.labels.items() if k != "__name__"}, value: series.last}
        for series in answer
    ]


def _merge(frames: Sequence[Sequence[Row]]) -> list[Row]:
    """Join rows that agree in all columns which every frame has."""
    filled = [frame for frame in frames if frame]
    shared = [name for name in (filled[0][0] if filled else ()) if all(name in f[0] for f in filled)]
    merged: dict[tuple[Any, ...], list[Row]] = {}
    for frame in filled:
        for row in frame:
            group = merged.setdefault(tuple(row.get(name) for name in shared), [])
            fitting = next((old for old in group if all(old.get(k, v) == v for k, v in row.items())), None)
            if fitting is None:
                group.append(dict(row))
            else:
                fitting.update(row)
    return [row for group in merged.values() for row in group]


def _order(cell: Cell | None) -> tuple[int, float, str]:
    """Numbers before words, and what is missing first."""
    match cell:
        case None:
            return 0, 0, ""
        case str():
            return 2, 0, cell
        case _:
            return 1, cell, ""
