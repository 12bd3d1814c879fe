"""Which rows are shown to people: the first ones, and the longest."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

FIRST = 20
LONGEST = 3


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row stands."""

    length: int
    """Tokens of the row."""
    index: int
    """In the file of tokenised rows, from 0."""
    line: int
    """In the file that it was read from."""
    file: str


class Sample:
    """Chooses rows while they are written."""

    def __init__(self) -> None:
        self._first: list[Place] = []
        self._longest: list[Place] = []

    def add(self, file: str, rows: Sequence[tuple[int, int]], *, start: int) -> None:
        """Consider rows of a file, as (line, tokens); ``start`` is the index of the first of them."""
        for index, (line, length) in enumerate(rows, start=start):
            place = Place(length, index, line, file)
            if len(self._first) < FIRST:
                self._first.append(place)
            elif len(self._longest) < LONGEST:
                heapq.heappush(self._longest, place)
            else:
                heapq.heappushpop(self._longest, place)

    def places(self) -> list[Place]:
        """The first rows in their order, then the longest of the others."""
        return [*self._first, *sorted(self._longest, reverse=True)]
