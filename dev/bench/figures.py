"""A number with its bar and the command that makes it, and how numbers are shown."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from dev.progress import console


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number."""

    part: str
    name: str
    value: float
    unit: str
    bar: float | None = None
    """The value that separates good from bad; None for what only explains another number."""
    at_least: bool = False
    """Whether higher values are the good ones."""
    note: str = ""

    @property
    def command(self) -> str:
        """What makes it again."""
        return f".venv/bin/python -m dev bench --only {self.part}"

    @property
    def verdict(self) -> str:
        """Whether it keeps its bar."""
        if self.bar is None:
            return ""
        kept = self.value >= self.bar if self.at_least else self.value <= self.bar
        return "yes" if kept else "NO"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Iterable[float]) -> float:
    """Return the median over repeats."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Say how much repeats differ."""
    return f"{min(values):.2f} to {max(values):.2f} over {len(values)}" if len(values) > 1 else ""


def show(figures: Sequence[Figure]) -> None:
    """Print a table for people, under each command its numbers."""
    for command in dict.fromkeys(figure.command for figure in figures):
        _show(command, [figure for figure in figures if figure.command == command])


def _show(command: str, figures: Sequence[Figure]) -> None:
    table = Table("number", "value", "bar", "kept", "note", box=None, header_style="bold")
    for figure in figures:
        bar = "" if figure.bar is None else f"{'>=' if figure.at_least else '<='} {figure.bar:g}"
        value = (
            f"{figure.value:.3g} {figure.unit}" if figure.value < 100 else f"{figure.value:.0f} {figure.unit}"
        )
        table.add_row(figure.name, value, bar, figure.verdict, figure.note)
    console.print(f"\n[bold]{command}[/bold]")
    console.print(table)


def to_json(figures: Sequence[Figure]) -> str:
    """Return the figures for programs."""
    return json.dumps([asdict(figure) | {"command": figure.command} for figure in figures], indent=2)
