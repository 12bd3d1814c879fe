"""Finds rows asked about that stand in the training rows as well, with the means of ``prepare.leaks``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from ...data.chat import Conversation
from ...data.formats import Example
from ...data.likeness import likeness
from .. import leaks
from ..compared import Compared, Line

LeakKind = Literal["Exact", "Normalised"]


class Known:
    """What is compared of rows: their texts as they are, and their likeness."""

    def __init__(self) -> None:
        self._exact: list[bytes] = []
        self._compared = Compared()
        self._file: str | None = None

    def add(self, line: Line, row: Example) -> None:
        """Remember a row."""
        if line.file != self._file:
            self._compared.begin(line.file)
            self._file = line.file
        self._exact.append(_exact(row))
        self._compared.add(line.number, likeness(row))

    def passing(self, rows: Iterable[tuple[Line, Example]]) -> Iterator[tuple[Line, Example]]:
        """Remember rows on their way."""
        for line, row in rows:
            self.add(line, row)
            yield line, row

    def side(self) -> leaks.Side:
        """For ``leaks.find``."""
        return leaks.Side(self._exact, self._compared)


def of_validation(listed: Path, lines: Iterable[Line], path: Path) -> leaks.Found:
    """Copy what prepare has listed of these validation rows into the list ``path``."""
    asked = set(lines)
    rows = (row for row in leaks.read_list(listed) if Line(row["file"], row["line"]) in asked)
    return leaks.write_list(rows, path)


def of_own(train: Known, rows: Known, path: Path) -> leaks.Found:
    """Compare rows of the evaluation's own with the training rows, and list what is found in ``path``."""
    one, other = train.side(), rows.side()
    return leaks.write(leaks.find(one, other), one, other, path)


def kinds(path: Path) -> dict[Line, LeakKind]:
    """The leaked rows of a list; rows that have only their prompt in common are none."""
    return {
        Line(row["file"], row["line"]): row["kind"]
        for row in leaks.read_list(path)
        if row["kind"] != leaks.Kind.SAME_PROMPT
    }


def _exact(row: Example) -> bytes:
    """Digest of 128 bits of what the model is told and shall answer."""
    if isinstance(row, Conversation):
        text = json.dumps([row.messages, row.trained, row.tools], sort_keys=True)
    else:
        text = json.dumps([row.prompt, row.completion])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
