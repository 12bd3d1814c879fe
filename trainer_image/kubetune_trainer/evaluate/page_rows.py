"""The rows that a report shows, chosen while all of them pass by: memory is that of the shown ones."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..scoring.report import ReportRow

SHOWN = 10
"""Rows of each kind that are shown beside each other."""

LISTED = 50
"""Leaked rows that are named."""


@dataclass(slots=True)
class Highest:
    """The rows with the highest values, the earlier first among equals."""

    _heap: list[tuple[float, int, ReportRow]] = field(default_factory=list)
    total: int = 0

    def offer(self, value: float, row: ReportRow) -> None:
        """Count a row, and keep it if it is among the highest so far."""
        self.total += 1
        entry = (value, -self.total, row)
        if len(self._heap) < SHOWN:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    @property
    def rows(self) -> list[ReportRow]:
        """The highest first."""
        return [row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


@dataclass(slots=True, kw_only=True)
class Pair:
    """Two candidates over the rows of a set, by one metric."""

    metric: str
    one: str
    other: str | None
    """None: the rows in which the one scores low are what it lost."""
    won: Highest = field(default_factory=Highest)
    lost: Highest = field(default_factory=Highest)

    def offer(self, row: ReportRow) -> None:
        """Look at a row; one without both scores counts as neither."""
        score = self._score(row, self.one)
        other = 1.0 if self.other is None else self._score(row, self.other)
        if score is None or other is None:
            return
        if score > other:
            self.won.offer(score - other, row)
        elif score < other:
            self.lost.offer(other - score, row)

    def _score(self, row: ReportRow, name: str) -> float | None:
        answer = row.candidates.get(name)
        score = answer.scores.get(self.metric) if answer else None
        return score if score is not None and math.isfinite(score) else None


@dataclass(frozen=True, slots=True)
class LeakedRow:
    """Where a leaked row is, and how it stands in the training rows."""

    file: str
    line: int
    how: str


@dataclass(slots=True)
class ShownRows:
    """What is shown of rows.jsonl."""

    main: Pair
    general: Pair | None
    leaked: list[LeakedRow] = field(default_factory=list)

    def read(self, rows: Iterable[ReportRow]) -> None:
        """Let all rows pass by."""
        for row in rows:
            if row.set == "General":
                if self.general is not None:
                    self.general.offer(row)
                continue
            self.main.offer(row)
            if row.leak is not None:
                leaked = LeakedRow(row.file, row.line, row.leak)
                if len(self.leaked) < LISTED and leaked not in self.leaked:  # a row has several turns
                    self.leaked.append(leaked)
