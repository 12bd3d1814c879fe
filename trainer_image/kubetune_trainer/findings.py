"""What is wrong with one row, before its line and file are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
