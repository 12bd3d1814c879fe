"""Collects bad rows: every one goes to a file at once, so that millions of them need no memory."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

from ..contract.errors import BadRow, DataInvalid

logger = logging.getLogger(__name__)

SHOWN = 20
"""Bad rows in the termination message."""

_NAMED = 3
"""Findings in the sentence that becomes the condition's message."""

_LOGGED = 1000
"""Findings in the pod's log."""


class BadRows:
    """Bad rows of all files of a job."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._first: list[BadRow] = []
        self._classes: Counter[str] = Counter()
        self._last: tuple[str, int] | None = None
        self._findings = 0
        self.count = 0
        """Bad rows; one with several findings counts once."""

    def add(self, row: BadRow) -> None:
        """Record one finding; the findings of a row come one after another."""
        if (row.file, row.line) != self._last:
            self._last = (row.file, row.line)
            self.count += 1
        self._classes[row.kind] += 1
        self._findings += 1
        if self._findings <= SHOWN:
            self._first.append(row)
        if self._findings <= _LOGGED:
            logger.error(
                "%sline %s: %s: %s", f"{row.file} " if row.file else "", row.line, row.kind, row.message
            )
        self._file.write(json.dumps(row.as_json(), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Write what is buffered, and say in the log how many findings it does not have."""
        if self._findings > _LOGGED:
            logger.error("%s more are in prepared/errors.jsonl", f"{self._findings - _LOGGED:,}")
        self._file.close()

    def error(self, read: int) -> DataInvalid:
        """The error that names the first of them; ``read`` is the number of all rows.

        What to do about it is the operator's sentence.
        """
        named = " ".join(f"{_place(row)}: {row.message}" for row in self._first[:_NAMED])
        rest = "All of them are in prepared/errors.jsonl." if self._findings > _NAMED else ""
        return DataInvalid(
            f"{self.count:,} of {read:,} rows cannot be used. {named} {rest}".rstrip(),
            rows=self._first,
            classes=dict(self._classes.most_common()),
            errors=self.count,
        )


def _place(row: BadRow) -> str:
    return f"{row.file}, line {row.line}" if row.file else f"Line {row.line}"
