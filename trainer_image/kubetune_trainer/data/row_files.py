"""The file of a split's prepared rows: its format, and how it is written, read and copied in part.

It is an Arrow IPC file, with a record batch for each portion of rows. Nothing is compressed: a row is read
where it lies in the memory-mapped file. It is the file format and not the stream, as the footer comes last: a
file that was cut short is refused, where a stream that ends between two batches is one with fewer rows.
``pyarrow.ipc.open_file``, ``pandas.read_feather`` and ``datasets.load_dataset("arrow", ...)`` read it too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..contract.errors import VolumeUnusable, first_line

SCHEMA = pa.schema(
    [("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32())), ("length", pa.int32())]
)
"""Token ids, as many labels (-100 is not learned), and how many."""


class RowWriter:
    """A file that is being written, made by ``writing``."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, input_ids: Sequence[npt.ArrayLike], labels: Sequence[npt.ArrayLike]) -> None:
        """Add a portion of rows; they are held in memory once more while they are written."""
        columns = {"input_ids": input_ids, "labels": labels, "length": [np.size(row) for row in input_ids]}
        self._stream.write_batch(pa.RecordBatch.from_pydict(columns, schema=SCHEMA))


@contextmanager
def writing(path: Path) -> Iterator[RowWriter]:
    """Write a file of rows; it can be read once the block has ended without an error."""
    with _stream(path) as stream:
        yield RowWriter(stream)


@contextmanager
def _stream(path: Path) -> Iterator[Any]:
    with path.open("wb") as file:
        stream = pa.ipc.new_file(file, SCHEMA)
        yield stream
        stream.close()  # writes the footer: after an error there is none, and the file is refused


class RowFile:
    """The rows of a file, memory-mapped: only those that are asked for are read.

    Raises:
        VolumeUnusable: the file is missing, cut short, damaged or another.
        OSError: the volume did not let it be read, which says nothing about its content.
    """

    def __init__(self, path: Path) -> None:
        self.lengths: list[int] = []
        """Tokens of each row."""
        self._starts: list[int] = []
        with _explained(path):
            self._batches = _batches(path)
            for batch in self._batches:
                self._starts.append(len(self.lengths))
                self.lengths += batch.column("length").to_numpy().tolist()

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int32]]:
        """``input_ids`` and ``labels`` of a row, as parts of the file that must not be written to."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._starts, index) - 1
        batch, place = self._batches[number], index - self._starts[number]
        return {name: batch.column(name)[place].values.to_numpy() for name in ("input_ids", "labels")}

    def select(self, indices: Sequence[int], path: Path) -> None:
        """Write the rows with these indices, which must rise, to another file.

        Batch by batch: taking them from a table would make one array of all its tokens first."""
        chosen = np.asarray(indices, dtype=np.int64)
        if len(chosen) and (chosen[0] < 0 or chosen[-1] >= len(self) or (np.diff(chosen) < 1).any()):
            raise ValueError(f"indices of {len(self)} rows must rise from 0 or more, and end below that")
        with _stream(path) as stream:
            for start, batch in zip(self._starts, self._batches, strict=True):
                first, last = np.searchsorted(chosen, (start, start + batch.num_rows))
                if first < last:
                    stream.write_batch(batch.take(pa.array(chosen[first:last] - start)))


def _batches(path: Path) -> list[Any]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    if not reader.schema.equals(SCHEMA):
        raise pa.ArrowInvalid("It has other columns")
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    for batch in batches:
        batch.validate(full=True)  # where rows begin and end, not their tokens: a wrong place could be fatal
    return batches


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what an error of reading means: pyarrow's have no number when they are about the content."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        if isinstance(error, OSError) and error.errno is not None and not absent:
            error.filename = str(path)
            raise
        problem = "is missing" if absent else f"cannot be read ({first_line(error)})"
        raise VolumeUnusable.changed(path.parent, f"{path.name} {problem}") from error
