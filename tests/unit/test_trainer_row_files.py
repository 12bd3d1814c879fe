"""The file of prepared rows: written in portions, read by index, copied in part, and refused when damaged."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from kubetune_trainer.contract.errors import VolumeUnusable
from kubetune_trainer.data.row_files import SCHEMA, RowFile, writing
from kubetune_trainer.data.sampler import FILLER
from kubetune_trainer.loop.prepared_rows import Rows
from kubetune_trainer.methods.sft import SFT
from kubetune_trainer.prepare.dataset import count_tokens

Row = tuple[list[int], list[int]]


def make(number: int) -> Row:
    """A row that tells which one it is; lengths differ, and the last one is longer than a byte counts."""
    tokens = [number, *range(number % 5), 150_000]
    return tokens, [-100] * (len(tokens) - 1) + tokens[-1:]


def write(path: Path, *portions: Sequence[Row]) -> Path:
    with writing(path) as writer:
        for portion in portions:
            writer.write([tokens for tokens, _ in portion], [labels for _, labels in portion])
    return path


def read_all(rows: RowFile) -> list[Row]:
    found = (rows[index] for index in range(len(rows)))
    return [(row["input_ids"].tolist(), row["labels"].tolist()) for row in found]


def read(path: Path) -> list[Row]:
    rows = RowFile(path)
    found = read_all(rows)
    assert rows.lengths == [len(tokens) for tokens, _ in found]
    return found


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """What counts the memory of a test alone."""
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(usual)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Rows 0 to 19 in batches of 7, 1, 9 and 3."""
    numbers = iter(range(20))
    return write(tmp_path / "train.arrow", *[[make(next(numbers)) for _ in range(n)] for n in (7, 1, 9, 3)])


def test_rows_are_read_as_they_were_written(path: Path) -> None:
    assert read(path) == [make(number) for number in range(20)]
    assert count_tokens(path) == sum(len(make(number)[0]) for number in range(20))
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        assert (reader.schema, reader.num_record_batches) == (SCHEMA, 4)


@pytest.mark.parametrize("index", [0, 6, 7, 8, 16, 17, 19])
def test_a_row_is_found_in_its_batch(path: Path, index: int) -> None:
    row = RowFile(path)[index]
    assert (row["input_ids"].tolist(), row["labels"].tolist()) == make(index)


@pytest.mark.parametrize("index", [-1, 20])
def test_there_are_no_rows_before_the_first_and_after_the_last(path: Path, index: int) -> None:
    with pytest.raises(IndexError):
        RowFile(path)[index]


SELECTIONS = {
    "over the borders of batches": [5, 6, 7, 8, 17],
    "none of a batch": [0, 19],
    "one": [7],
    "all": list(range(20)),
    "none": [],
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_selected_rows_are_copied(path: Path, tmp_path: Path, case: str) -> None:
    chosen = SELECTIONS[case]
    RowFile(path).select(chosen, tmp_path / "chosen.arrow")
    assert read(tmp_path / "chosen.arrow") == [make(number) for number in chosen]


@pytest.mark.parametrize("indices", [[3, 2], [2, 2], [-1, 2], [19, 20]])
def test_indices_that_would_lose_rows_are_an_error(path: Path, tmp_path: Path, indices: list[int]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        RowFile(path).select(indices, tmp_path / "chosen.arrow")
    assert not (tmp_path / "chosen.arrow").exists()


def test_rows_are_mapped_and_a_selection_holds_one_batch(tmp_path: Path, pool: pa.MemoryPool) -> None:
    path, batch = tmp_path / "train.arrow", [([0] * 1000, [0] * 1000)] * 50
    write(path, *[batch] * 20)
    size = path.stat().st_size // 20
    written = pool.max_memory()
    assert written < 3 * size

    rows = RowFile(path)
    assert pool.bytes_allocated() < size / 10
    rows.select(range(0, 1000, 2), tmp_path / "chosen.arrow")
    assert pool.max_memory() == written
    assert RowFile(tmp_path / "chosen.arrow").lengths == [1000] * 500


def test_a_file_without_rows_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "validation.arrow")
    assert (len(RowFile(path)), read(path), count_tokens(path)) == (0, [], 0)
    RowFile(path).select([], tmp_path / "chosen.arrow")
    assert read(tmp_path / "chosen.arrow") == []


def test_a_split_without_a_file_has_no_tokens(tmp_path: Path) -> None:
    assert count_tokens(tmp_path / "validation.arrow") == 0


def test_the_filler_has_no_labels(path: Path) -> None:
    rows = Rows(path, SFT.filler)
    assert (len(rows), rows.lengths) == (20, RowFile(path).lengths)
    assert rows[FILLER] == {"input_ids": [0], "labels": [-100]}
    assert rows[19]["input_ids"].tolist() == make(19)[0]


def refused(path: Path) -> str:
    with pytest.raises(VolumeUnusable) as refusal:
        RowFile(path)
    begin, end = f"{path.parent} is not what prepare makes: {path.name} ", ". Delete that directory."
    message = refusal.value.message
    assert message.startswith(begin)
    assert message.endswith(end)
    return message.removeprefix(begin).removesuffix(end)


def test_a_file_that_was_cut_short_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        assert re.fullmatch(r"cannot be read \((Not an Arrow file|File is too small: \d+)\)", refused(path))


def test_a_file_whose_writing_failed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"

    def fail() -> None:
        with writing(path) as writer:
            writer.write([[1]], [[1]])
            writer.write([["a"]], [[1]])  # type: ignore[list-item]

    with pytest.raises(pa.ArrowInvalid):
        fail()
    assert refused(path) == "cannot be read (Not an Arrow file)"


def test_no_wrong_byte_makes_reading_crash(path: Path) -> None:
    """One in a token, in the length of a row or in what is not used does no harm; all others are refused."""
    content = path.read_bytes()
    places = range(0, len(content), 3)
    refusals = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert len(read_all(RowFile(path))) == 20
        except VolumeUnusable:
            refusals += 1
    assert refusals > len(places) // 3


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    schema = pa.schema([("text", pa.string())])
    with path.open("wb") as file, pa.ipc.new_file(file, schema) as stream:
        stream.write_batch(pa.RecordBatch.from_pydict({"text": ["a"]}, schema=schema))
    assert refused(path) == "cannot be read (It has other columns)"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "train.arrow") == "is missing"
    shutil.rmtree(tmp_path)
    assert refused(tmp_path / "train.arrow") == "is missing"


def test_an_error_of_the_volume_names_the_file_and_blames_nobody(path: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop.arrow"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="symbolic links") as error:
        RowFile(loop)
    assert (error.value.errno, error.value.filename) == (errno.ELOOP, str(loop))


def test_a_full_volume_keeps_the_kernels_number() -> None:
    with pytest.raises(OSError, match="No space left") as error:
        write(Path("/dev/full"), [make(number) for number in range(1000)])
    assert error.value.errno == errno.ENOSPC
