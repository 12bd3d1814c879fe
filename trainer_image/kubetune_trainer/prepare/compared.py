"""Where the rows of a split stand in their files, and what is compared of them: 24 bytes a row."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..data.likeness import Likeness

Digests = npt.NDArray[np.uint64]


class Line(NamedTuple):
    """Where a row stands."""

    file: str
    number: int
    """Counted from 1; of Parquet and of a JSON array it is the row's."""


class Compared:
    """Likeness and line of each row, in order."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._starts: list[int] = []
        self._lines, self._wholes, self._prompts = array("q"), array("Q"), array("Q")
        self._rows: npt.NDArray[np.int64] | None = None

    def begin(self, file: str) -> None:
        """The rows that follow are of this file."""
        self._files.append(file)
        self._starts.append(len(self._lines))

    def add(self, line: int, found: Likeness) -> None:
        """Remember a row."""
        self._lines.append(line)
        self._wholes.append(found.whole)
        self._prompts.append(found.prompt)

    def select(self, rows: Sequence[int]) -> Compared:
        """The rows with these indices, of one that has all rows of its files."""
        assert self._rows is None
        selected = Compared()
        selected._files, selected._starts, selected._lines = self._files, self._starts, self._lines
        selected._wholes, selected._prompts = self._wholes, self._prompts
        selected._rows = np.asarray(rows, dtype=np.int64)
        return selected

    @property
    def wholes(self) -> Digests:
        """Likeness.whole of each row."""
        return self._chosen(self._wholes)

    @property
    def prompts(self) -> Digests:
        """Likeness.prompt of each row."""
        return self._chosen(self._prompts)

    def lines(self) -> dict[str, list[int]]:
        """Lines of all rows by file, in order."""
        found: dict[str, list[int]] = {}
        for index in range(len(self._lines if self._rows is None else self._rows)):
            file, number = self.line(index)
            found.setdefault(file, []).append(number)
        return found

    def line(self, index: int) -> Line:
        """Where a row stands."""
        at = index if self._rows is None else int(self._rows[index])
        return Line(self._files[bisect_right(self._starts, at) - 1], self._lines[at])

    def _chosen(self, values: array[int]) -> Digests:
        found = np.frombuffer(values, dtype=np.uint64) if values else np.empty(0, np.uint64)
        return found if self._rows is None else found[self._rows]


def short(digests: Sequence[bytes]) -> Digests:
    """The first 64 bits of digests of 128."""
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)[:, 0]
