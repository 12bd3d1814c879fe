"""One row of a file, before anything is known about its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line (of Parquet and of a JSON array, its number), counted from 1, and its columns."""

    line: int
    columns: dict[str, Any]
