"""Rows of CSV: the first line names the columns, records may go over several lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from ..contract.errors import BadRow, DataInvalid
from .lines import MAX_LINE_BYTES, line_problem, lines
from .row import Row

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""Longest record, over all of its lines: where a quotation mark is missing, it goes on and on."""


def csv_rows(file: BinaryIO, name: str) -> Iterator[Row | BadRow]:
    """Every record with the line where it begins; columns without a name are left out.

    Raises:
        DataInvalid: the header cannot be read, or names a column twice; a record does not end.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    problems: dict[int, tuple[str, str]] = {}
    start = size = 0

    def text() -> Iterator[str]:
        nonlocal size
        for number, line in lines(file, name):
            size += 0 if isinstance(line, int) else len(line)
            if size > MAX_RECORD_BYTES:
                raise DataInvalid(
                    f"The record of {name} that begins on line {start} has more than "
                    f"{MAX_RECORD_BYTES // 2**20} MiB: a quotation mark may be missing."
                )
            if problem := line_problem(line):
                problems[number] = problem
            yield "" if isinstance(line, int) else line.replace(b"\0", b"").decode(errors="replace")

    reader = csv.reader(text(), strict=True)
    header: list[str] | None = None
    while True:
        start, size = reader.line_num + 1, 0
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.setdefault(start, ("invalid_csv", f"The record is not CSV: {error}."))
            record = []
        found = [problems.pop(number) for number in range(start, reader.line_num + 1) if number in problems]
        if found and header is None:  # else a row of data would be taken for the header
            raise DataInvalid(f"The first line of {name}, its header, cannot be read: {found[0][1]}")
        if found:
            yield BadRow(line=start, kind=found[0][0], message=found[0][1], file=name)
        elif not record:
            continue
        elif header is None:
            header = _header(record, name)
        elif problem := _misfit(record, header):
            yield BadRow(line=start, kind="invalid_csv", message=problem, file=name)
        else:
            yield Row(start, {column: cell for column, cell in zip(header, record, strict=False) if column})


def _header(record: list[str], name: str) -> list[str]:
    """Names of the columns; an index that pandas wrote, or a comma at the end, makes one without a name."""
    header = [column.strip() for column in record]
    if not any(header):
        raise DataInvalid(f"The first line of {name} must name the columns.")
    first: dict[str, int] = {}
    for number, column in enumerate(header, start=1):
        if column and column in first:
            raise DataInvalid(
                f"The first line of {name} must name each column once: columns {first[column]} and {number} "
                "have the same name."
            )
        first[column] = number
    return header


def _misfit(record: list[str], header: list[str]) -> str | None:
    """Why a record does not belong to the header; commas at its end do no harm."""
    if len(record) < len(header) or any(record[len(header) :]):
        return f"The record has {len(record)} fields; the header has {len(header)}."
    for number, (column, cell) in enumerate(zip(header, record, strict=False), start=1):
        if not column and number > 1 and cell.strip():
            return f"Field {number} of the record has text, but the header has no name for it."
    return None
