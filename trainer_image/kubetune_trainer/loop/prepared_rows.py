"""The prepared rows of a file as the loop asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.row_files import RowFile
from ..data.sampler import FILLER
from ..methods.method import Row


class Rows:
    """The rows of a file by their index, and the filler that stands for none."""

    def __init__(self, path: Path, filler: Row) -> None:
        self._rows = RowFile(path)
        self._filler = filler

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return self._rows.lengths

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._filler if index == FILLER else self._rows[index]


class Passes:
    """The rows of a forward pass by their indices: what a DataLoader fetches for each pass of a step."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getitem__(self, indices: Sequence[int]) -> list[Row]:
        return [self._rows[index] for index in indices]

    def __len__(self) -> int:
        return len(self._rows)
