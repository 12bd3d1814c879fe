"""What is wrong with one row, before its line and file are known."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract.errors import TrainerError


@dataclass(frozen=True, slots=True)
class Finding:
    """One class of problem with its sentence."""

    kind: str
    message: str


class Findings(Exception):  # noqa: N818 - a row's findings, not an error of the program
    """Raised by the checks of a row; holds at least one finding."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(findings[0].message)
        self.findings = tuple(findings)


def findings_of(error: Exception) -> tuple[Finding, ...]:
    """What an error says about the row that it came from; what is no row's fault is raised again."""
    if isinstance(error, TrainerError | MemoryError | OSError):
        raise error
    return error.findings if isinstance(error, Findings) else (_unexpected(error),)


def _unexpected(error: Exception) -> Finding:
    """A row that makes the code or a library fail; the error's own text may quote the row."""
    if isinstance(error, RecursionError):
        return Finding("nested_too_deep", "The row has lists or objects that are nested too deep.")
    if isinstance(error, UnicodeError):
        return Finding("encoding", "The row has half of a character or bytes that are not UTF-8.")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    return Finding("unusable_row", f"The row cannot be used: it leads to {place}.")
