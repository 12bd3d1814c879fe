"""Rows of Parquet: only the columns that are used are decoded, in batches of bounded size.

What a batch takes is not known before: a value that stands a million times is stored once, and the sizes that
a file tells are claims of whoever wrote it. So the kernel bounds it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..contract.errors import BadRow, DataInvalid, first_line, name_list
from .json_text import MAX_DEPTH
from .memory import READING, bounded_memory
from .row import Row

logger = logging.getLogger(__name__)

MAX_ROW_BYTES = 64 * 1024 * 1024
"""A row beyond it is not decoded."""

_MAX_ROW_VALUES = 1_000_000
"""Numbers, strings, lists and objects of one row: as Python has them, each takes dozens of bytes."""

_BATCH_BYTES = 16 * 1024 * 1024
_BATCH_ROWS = 256


def parquet_rows(
    path: Path, name: str, columns: Collection[str] | None, *, memory: int = READING
) -> Iterator[Row | BadRow]:
    """Every row, with those of ``columns`` that the file has; None are all.

    ``memory`` is how many bytes a step may take.

    Raises:
        DataInvalid: it is no Parquet file, or has none of the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Mapped: else the whole chunk of a column in a row group is held, with buffer_size too.
        with bounded_memory(memory):
            opened = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
        with opened as file:
            levels = (file.schema.column(index) for index in range(file.metadata.num_columns))
            if max((column.max_definition_level for column in levels), default=0) > MAX_DEPTH:
                raise DataInvalid(f"{name} has columns that are nested more than {MAX_DEPTH} levels deep.")
            names = file.schema_arrow.names
            used = [column for column in names if columns is None or column in columns]
            if not used and names:
                raise DataInvalid(
                    f"{name} has the columns {name_list(names)}, of which none is read: a row has messages, "
                    "or prompt and completion, or text. Other names are mapped in dataset.columns."
                )
            if len(used) < len(names):
                unused = name_list((column for column in names if column not in used), 20)
                logger.info("%s: not read are the columns %s", name, unused)
            # In this thread: what does not get its memory in another one ends the process.
            batches = file.iter_batches(_batch_size(file.metadata), columns=used, use_threads=False)
            while (batch := _next(batches, memory)) is not None:
                for result in _decoded(batch, memory):
                    number += 1
                    if isinstance(result, dict):
                        yield Row(number, result)
                    else:
                        yield BadRow(line=number, kind=result[0], message=result[1], file=name)
    except MemoryError:
        raise DataInvalid(
            f"{name} takes more than {memory // 1024**2:,} MiB of memory where row {number + 1:,} is read: "
            "write it with smaller row groups and pages, or as JSON lines."
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise DataInvalid(f"{name} is not a Parquet file that can be read: {first_line(error)}") from None


def _batch_size(metadata: Any) -> int:
    """Rows that are decoded together, by what the largest of a row group's take."""
    largest = 1
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        largest = max(largest, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // largest))


def _next(batches: Iterator[Any], memory: int) -> Any | None:
    with bounded_memory(memory):
        return next(batches, None)


def _decoded(batch: Any, memory: int) -> Iterator[dict[str, Any] | tuple[str, str]]:
    """Columns of each row; (class, message) of one with a value that cannot be decoded."""
    problem = _too_large(batch)
    if batch.num_rows == 1 and problem:
        yield "line_too_long", problem
        return
    try:
        if problem:
            raise OverflowError
        with bounded_memory(memory):
            rows = batch.to_pylist(maps_as_pydicts="strict")
    except (
        ValueError,
        OverflowError,
        KeyError,
        MemoryError,  # a value that stands once beside its rows, and would stand in each of them
    ) as error:  # a string that is not UTF-8, a date of the year 10000
        if batch.num_rows == 1:
            yield _problem(error)
            return
        for row in range(batch.num_rows):
            yield from _decoded(batch.slice(row, 1), memory)
        return
    yield from rows


def _too_large(batch: Any) -> str | None:
    """Why a batch is not made Python values of as a whole, said of a single row."""
    if batch.nbytes > MAX_ROW_BYTES:
        return f"The row has {batch.nbytes:,} bytes; the limit is {MAX_ROW_BYTES:,} (64 MiB)."
    values = sum(_values(column) for column in batch.columns)
    if values > _MAX_ROW_VALUES:
        return f"The row has {values:,} values; the limit is {_MAX_ROW_VALUES:,}."
    return None


def _values(array: Any) -> int:
    """Values within, of all depths: some take no byte, such as those that are null."""
    import pyarrow.types as kinds

    kind, own = array.type, len(array)
    if kinds.is_struct(kind):
        return own + sum(map(_values, array.flatten()))
    if kinds.is_fixed_size_list(kind):
        return own + _values(array.flatten())
    if own == 0 or not (kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_map(kind)):
        return own
    first, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
    parts = (array.keys, array.items) if kinds.is_map(kind) else (array.values,)
    return own + sum(_values(part.slice(first, end - first)) for part in parts)


def _problem(error: Exception) -> tuple[str, str]:
    if isinstance(error, UnicodeDecodeError):
        return "encoding", "A string of the row is not UTF-8. Save the file with UTF-8 strings."
    if isinstance(error, MemoryError):
        return "line_too_long", "The row takes more memory than one may. Split or shorten it."
    if isinstance(error, KeyError):
        return "duplicate_key", "A map of the row has a key twice. Keep one of them."
    return "data_type", "A value of the row cannot be read. Save the columns as strings, lists and structs."
