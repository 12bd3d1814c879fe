"""Reads rows from jsonl, csv and parquet files, one at a time, and says which line each came from.

What is wrong with a file as a whole raises DataInvalid; what is wrong with one line comes out as a BadRow, so
that every bad line of a file is reported at once.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..contract.errors import BadRow, DataInvalid

MAX_LINE_BYTES = 1024 * 1024
"""Longest line: a longer one is a file without line ends, or no training row."""

SUFFIXES = (".jsonl", ".csv", ".parquet")

_MAGIC = {
    b"\x1f\x8b": "gzip-compressed",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_BOM = b"\xef\xbb\xbf"
_FEW_NULS = 16  # in the first 4 KiB; fewer are single bad lines


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line (of Parquet, its number), counted from 1, and its columns."""

    line: int
    columns: dict[str, Any]


def read_rows(path: Path, *, name: str) -> Iterator[Row | BadRow]:
    """Yield every row of a file; ``name`` is how messages call it."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataInvalid(f"{name} is of an unknown kind: the name must end in .jsonl, .csv or .parquet.")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataInvalid(f"{name} cannot be read: {error.strerror}.") from None
    if size == 0:
        raise DataInvalid(f"{name} is empty.")
    if suffix == ".parquet":
        yield from _parquet(path, name)
        return
    _require_text(path, name)
    yield from _jsonl(path, name) if suffix == ".jsonl" else _csv(path, name)


def _require_text(path: Path, name: str) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise DataInvalid(f"{name} is {kind}, not UTF-8 text: save it as plain UTF-8.")
    if head.count(0) > _FEW_NULS:
        raise DataInvalid(f"{name} is a binary file (it has NUL bytes), not UTF-8 text.")
    if path.suffix == ".jsonl" and head.removeprefix(_BOM).lstrip().startswith(b"["):
        raise DataInvalid(f"{name} is one JSON array: write one JSON object per line instead.")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | int]]:
    """Yield (line number, line), or the line's size where it is too long; memory use is bounded."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if len(line.rstrip(b"\r\n")) <= MAX_LINE_BYTES:
            yield number, line.removeprefix(_BOM) if number == 1 else line
            continue
        size = 0
        while line:
            size += len(line.rstrip(b"\r\n"))
            line = b"" if line.endswith(b"\n") else file.readline(MAX_LINE_BYTES)
        yield number, size


def _line_problem(line: bytes | int) -> tuple[str, str] | None:
    """(class, message) of a line that is no text, else None."""
    if isinstance(line, int):
        limit = f"{MAX_LINE_BYTES:,} bytes (1 MiB)"
        return (
            "line_too_long",
            f"The line has {line:,} bytes; the limit is {limit}. Split or shorten the row.",
        )
    if b"\0" in line:
        return "nul_byte", f"Byte {line.index(0) + 1} of the line is NUL. Remove it."
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return "encoding", f"Byte {error.start + 1} of the line is not UTF-8. Save the file as UTF-8."
    return None


def _jsonl(path: Path, name: str) -> Iterator[Row | BadRow]:
    with path.open("rb") as file:
        for number, line in _lines(file):
            problem = _line_problem(line)
            if problem is None:
                assert isinstance(line, bytes)
                if not line.strip():
                    continue
                result = _parse(line)
                if isinstance(result, dict):
                    yield Row(number, result)
                    continue
                problem = result
            yield BadRow(line=number, kind=problem[0], message=problem[1], file=name)


def _parse(line: bytes) -> dict[str, Any] | tuple[str, str]:
    try:
        value = json.loads(line.strip())
    except json.JSONDecodeError as error:
        return "invalid_json", f"The line is not JSON: {error.msg} at column {error.colno}."
    except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
        return "invalid_json", "The line is not JSON that can be read: a number or its nesting is too large."
    if not isinstance(value, dict):
        return "data_type", f"The line is {kind_of(value)}, not an object."
    if b"\\ud" in line.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return "encoding", "The line has half of a character (a \\ud... escape without its other half)."
    return value


def _csv(path: Path, name: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(MAX_LINE_BYTES)
    problems: dict[int, tuple[str, str]] = {}

    def text() -> Iterator[str]:
        for number, line in _lines(file):
            if problem := _line_problem(line):
                problems[number] = problem
            yield "" if isinstance(line, int) else line.replace(b"\0", b"").decode(errors="replace")

    with path.open("rb") as file:
        reader = csv.reader(text(), strict=True)
        header: list[str] | None = None
        while True:
            start = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                problems.setdefault(start, ("invalid_csv", f"The record is not CSV: {error}."))
                record = []
            found = [
                problems.pop(number) for number in range(start, reader.line_num + 1) if number in problems
            ]
            if found and header is None:  # else a row of data would be taken for the header
                raise DataInvalid(f"The first line of {name}, its header, cannot be read: {found[0][1]}")
            if found:
                yield BadRow(line=start, kind=found[0][0], message=found[0][1], file=name)
            elif not record:
                continue
            elif header is None:
                header = _header(record, name)
            elif len(record) != len(header):
                message = f"The record has {len(record)} fields; the header has {len(header)}."
                yield BadRow(line=start, kind="invalid_csv", message=message, file=name)
            else:
                yield Row(start, dict(zip(header, record, strict=True)))


def _header(record: list[str], name: str) -> list[str]:
    header = [column.strip() for column in record]
    first: dict[str, int] = {}
    for number, column in enumerate(header, start=1):
        if not column or column in first:
            wrong = (
                f"columns {first[column]} and {number} have the same name"
                if column
                else f"column {number} has no name"
            )
            raise DataInvalid(f"The first line of {name} must name each column once: {wrong}.")
        first[column] = number
    return header


def _parquet(path: Path, name: str) -> Iterator[Row | BadRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for columns in _parquet_rows(batch):
                    number += 1
                    if columns is None:
                        message = "A string of the row is not UTF-8. Save the file with UTF-8 strings."
                        yield BadRow(line=number, kind="encoding", message=message, file=name)
                    else:
                        yield Row(number, {key: _without_nulls(value) for key, value in columns.items()})
    except (pa.ArrowException, OSError) as error:
        raise DataInvalid(
            f"{name} is not a Parquet file that can be read: {str(error).splitlines()[0]}"
        ) from None


def _parquet_rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Columns of each row; None for one with a string that cannot be decoded."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # before anything was yielded
        if batch.num_rows == 1:
            yield None
            return
        for row in range(batch.num_rows):
            yield from _parquet_rows(batch.slice(row, 1))


def _without_nulls(value: Any) -> Any:
    """Drop keys that are null: Parquet gives every struct all keys that any row has."""
    if isinstance(value, dict):
        return {
            key: _without_nulls(item) for key, item in value.items() if item is not None or key == "content"
        }
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def kind_of(value: object) -> str:
    """What a JSON value is, for a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
