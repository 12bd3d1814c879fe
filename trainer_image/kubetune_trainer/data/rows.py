"""Reads rows from files of any kind, one at a time, and says which line each came from.

What is wrong with a file as a whole raises DataInvalid; what is wrong with one line comes out as a BadRow, so
that every bad line of a file is reported at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from ..contract.errors import BadRow, DataInvalid
from .csv_rows import csv_rows
from .files import ENDINGS, form_of, kind_of_name, opened
from .json_rows import array_rows, jsonl_rows
from .parquet_rows import parquet_rows
from .row import Row


def read_rows(path: Path, *, name: str, columns: Collection[str] | None = None) -> Iterator[Row | BadRow]:
    """Yield every row of a file; ``name`` is how messages call it.

    Of Parquet, only those of ``columns`` are decoded; None are all.
    """
    kind = kind_of_name(name)
    if kind is None:
        raise DataInvalid(f"{name} is of an unknown kind: the name must end in {ENDINGS}.")
    form = form_of(path, name, kind)
    if form == "parquet":
        yield from parquet_rows(path, name, columns)
        return
    read = {"csv": csv_rows, "json": array_rows, "jsonl": jsonl_rows}[form]
    with opened(path, name, kind) as file:
        yield from read(file, name)
