"""Rows of Parquet: only the columns that are used are decoded, in batches of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..contract.errors import BadRow, DataInvalid, first_line, name_list
from .row import Row

logger = logging.getLogger(__name__)

MAX_ROW_BYTES = 64 * 1024 * 1024
"""A row beyond it is not decoded."""

_BATCH_BYTES = 16 * 1024 * 1024
_BATCH_ROWS = 256


def parquet_rows(path: Path, name: str, columns: Collection[str] | None) -> Iterator[Row | BadRow]:
    """Every row, with those of ``columns`` that the file has; None are all.

    Raises:
        DataInvalid: it is no Parquet file, or has none of the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Mapped: else the whole chunk of a column in a row group is held, with buffer_size too.
        with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
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
            for batch in file.iter_batches(batch_size=_batch_size(file.metadata), columns=used):
                for result in _decoded(batch):
                    number += 1
                    if isinstance(result, dict):
                        yield Row(number, result)
                    else:
                        yield BadRow(line=number, kind=result[0], message=result[1], file=name)
    except (pa.ArrowException, OSError) as error:
        raise DataInvalid(f"{name} is not a Parquet file that can be read: {first_line(error)}") from None


def _batch_size(metadata: Any) -> int:
    """Rows that are decoded together, by what the largest of a row group's take."""
    largest = 1
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        largest = max(largest, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // largest))


def _decoded(batch: Any) -> Iterator[dict[str, Any] | tuple[str, str]]:
    """Columns of each row; (class, message) of one with a value that cannot be decoded."""
    if batch.num_rows == 1 and batch.nbytes > MAX_ROW_BYTES:
        yield "line_too_long", f"The row has {batch.nbytes:,} bytes; the limit is {MAX_ROW_BYTES:,} (64 MiB)."
        return
    try:
        if batch.num_rows > 1 and batch.nbytes > MAX_ROW_BYTES:
            raise OverflowError
        rows = batch.to_pylist(maps_as_pydicts="strict")
    except (
        ValueError,
        OverflowError,
        KeyError,
    ) as error:  # a string that is not UTF-8, a date of the year 10000
        if batch.num_rows == 1:
            yield _problem(error)
            return
        for row in range(batch.num_rows):
            yield from _decoded(batch.slice(row, 1))
        return
    yield from rows


def _problem(error: Exception) -> tuple[str, str]:
    if isinstance(error, UnicodeDecodeError):
        return "encoding", "A string of the row is not UTF-8. Save the file with UTF-8 strings."
    if isinstance(error, KeyError):
        return "duplicate_key", "A map of the row has a key twice. Keep one of them."
    return "data_type", "A value of the row cannot be read. Save the columns as strings, lists and structs."
