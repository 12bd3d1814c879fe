"""Reading rows: every kind of bad line with its number, and files that are no text at all."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract.config import DatasetConfig
from kubetune_trainer.contract.errors import BadRow, DataInvalid
from kubetune_trainer.data.findings import Findings
from kubetune_trainer.data.formats import RowReader
from kubetune_trainer.data.lines import MAX_LINE_BYTES
from kubetune_trainer.data.parquet_rows import MAX_ROW_BYTES
from kubetune_trainer.data.portions import portions
from kubetune_trainer.data.row import Row
from kubetune_trainer.data.rows import read_rows

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
GOOD = b'{"text": "good"}\n'
HUGE = b'{"text": "' + b"x" * MAX_LINE_BYTES + b'"}\n'


def read(tmp_path: Path, content: bytes, name: str = "rows.jsonl") -> list[Row | BadRow]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_rows(path, name=name))


def bad(tmp_path: Path, content: bytes, name: str = "rows.jsonl") -> list[tuple[int, str, str]]:
    return [
        (row.line, row.kind, row.message) for row in read(tmp_path, content, name) if isinstance(row, BadRow)
    ]


JSONL = {
    "broken JSON": (b'{"text": "a"\n', "invalid_json", "not JSON: Expecting ',' delimiter at column 13"),
    "a line that is no JSON at all": (b"hello\n", "invalid_json", "not JSON: Expecting value at column 1"),
    "a list instead of an object": (b"[1, 2]\n", "data_type", "is a list, not an object"),
    "a string instead of an object": (b'"text"\n', "data_type", "is a string, not an object"),
    "null instead of an object": (b"null\n", "data_type", "is null, not an object"),
    "bytes that are not UTF-8": (b'{"text": "caf\xe9"}\n', "encoding", "Byte 14 of the line is not UTF-8"),
    "half of a character": (rb'{"text": "\ud83d"}' + b"\n", "encoding", "half of a character"),
    "a NUL byte": (b'{"text": "a\0b"}\n', "nul_byte", "Byte 12 of the line is NUL"),
    "a line over 1 MiB": (HUGE, "line_too_long", "has 1,048,588 bytes; the limit is 1,048,576 bytes (1 MiB)"),
    "a number of too many digits": (b'{"n": ' + b"1" * 5000 + b"}\n", "invalid_json", "nesting is too large"),
    "a key that stands twice": (
        b'{"text": "a", "m": {"n": 1, "n": 2}}\n',
        "duplicate_key",
        "an object has the key 'n' twice",
    ),
    "an escaped NUL": (rb'{"text": "a\u0000"}' + b"\n", "nul_byte", r"has a NUL character (\u0000)"),
    "nesting that is too deep": (b"[" * 100000 + b"\n", "invalid_json", "nesting is too large"),
}


@pytest.mark.parametrize("case", JSONL)
def test_bad_jsonl_line_is_reported_with_its_number_and_reading_goes_on(tmp_path: Path, case: str) -> None:
    line, kind, message = JSONL[case]
    rows = read(tmp_path, GOOD + b"\n" + line + GOOD)
    assert [(row.line, isinstance(row, Row)) for row in rows] == [(1, True), (3, False), (4, True)]
    assert isinstance(rows[1], BadRow)
    assert rows[1].kind == kind
    assert message in rows[1].message


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    rows = read(tmp_path, b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}')
    assert rows == [Row(1, {"text": "a"}), Row(2, {"text": "b"})]


def test_escaped_characters_of_two_halves_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, rb'{"text": "\ud83e\udd9c \\ud"}') == [Row(1, {"text": "\U0001f99c \\ud"})]


def test_line_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    line = b'{"text": "' + b"x" * (MAX_LINE_BYTES - 12) + b'"}'
    assert len(line) == MAX_LINE_BYTES
    assert [type(row) for row in read(tmp_path, line + b"\r\n" + GOOD)] == [Row, Row]


FILES = {
    "is empty": ("rows.jsonl", b""),
    "is gzip-compressed": ("rows.jsonl", b"\x1f\x8b\x08\x00rest"),
    "is a Parquet file": ("rows.csv", b"PAR1rest"),
    "is zstd-compressed: let its name end in .zst": ("rows.csv", b"\x28\xb5\x2f\xfdrest"),
    "is a zip archive: unpack it": ("rows.jsonl", b"PK\x03\x04" + bytes(30) + b"rows.jsonl"),
    r"is an Excel workbook \(.xlsx\): save it as CSV": (
        "rows.csv",
        b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml",
    ),
    "is an Arrow file: save it as Parquet": ("rows.parquet", b"ARROW1\0\0rest"),
    "is a Git LFS pointer": ("rows.parquet", LFS_POINTER),
    "pointer, which names the file and is not the file": ("rows.jsonl", LFS_POINTER),
    "is a page of HTML": ("rows.csv", b"\n<!DOCTYPE html><title>Sign in</title>"),
    "lines end with CR alone": ("rows.jsonl", b'{"text": "a"}\r{"text": "b"}\r'),
    "a file whose lines end with CR alone": ("rows.csv", b"text\ra\rb"),
    "rows.csv are separated by semicolons": ("rows.csv", b"prompt;completion\na, b;c\n"),
    "rows.csv are separated by tabs": ("rows.csv", b"prompt\tcompletion\na\tb\n"),
    "has JSON objects over several lines": ("rows.jsonl", json.dumps({"text": "a"}, indent=1).encode() * 2),
    "objects over several lines: write one": (
        "rows.json",
        json.dumps({"text": "a" * 100_000, "id": 1}, indent=1).encode(),
    ),
    "UTF-16: save it as UTF-8": ("rows.csv", "text\n".encode("utf-16-le") * 20),
    "is no whole gzip file": ("rows.jsonl.gz", gzip.compress(GOOD * 1000)[:40]),
    "cannot be read: it is no whole zstd file": ("rows.jsonl.zst", GOOD),
    "is UTF-16": ("rows.jsonl", '{"text": "a"}'.encode("utf-16")),
    "is a binary file": ("rows.jsonl", bytes(range(256)) * 8 + b"\0" * 40),
    "is one JSON array": ("rows.JSONL", b'[\n{"text": "a"}\n]'),
    r"must end in \.jsonl, \.json, \.csv or \.parquet": ("rows.tsv", GOOD),
    "is not a Parquet file": ("rows.parquet", b"nothing of the kind"),
}


@pytest.mark.parametrize("sentence", FILES)
def test_file_that_holds_no_rows_is_refused(tmp_path: Path, sentence: str) -> None:
    name, content = FILES[sentence]
    with pytest.raises(DataInvalid, match=sentence):
        read(tmp_path, content, name)


def zstd(content: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.compress(content, codec="zstd", asbytes=True))


COMPRESSED = {
    "rows.jsonl.gz": gzip.compress(GOOD) + gzip.compress(GOOD),  # of two members, as cat makes it
    "rows.JSONL.ZST": zstd(GOOD) + zstd(GOOD),
    "rows.csv.gz": gzip.compress(b"text\ngood\n\ngood\n"),
    "rows.json.gz": gzip.compress(b'[{"text": "good"}, {"text": "good"}]'),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_file_is_read(tmp_path: Path, name: str) -> None:
    assert [row.columns for row in read(tmp_path, COMPRESSED[name], name) if isinstance(row, Row)] == [
        {"text": "good"}
    ] * 2


def test_line_that_does_not_end_is_not_decompressed_to_its_end(tmp_path: Path) -> None:
    content = gzip.compress(b'{"text": "' + bytes(70 * 1024 * 1024), compresslevel=1)
    with pytest.raises(DataInvalid, match=r"Line 5001 of rows\.jsonl\.gz has more than 67,108,864 bytes"):
        read(tmp_path, gzip.compress(GOOD * 5000) + content, "rows.jsonl.gz")


ARRAYS = {
    "on lines of their own": b'[\n  {"text": "a"},\n  {"text": "b"}\n]\n',
    "on one line, after a byte order mark": b'\xef\xbb\xbf[{"text": "a"},{"text": "b"}]',
    "JSON lines by another name": b'{"text": "a"}\n{"text": "b"}\n',
}


@pytest.mark.parametrize("case", ARRAYS)
def test_objects_of_a_json_file_are_read(tmp_path: Path, case: str) -> None:
    assert read(tmp_path, ARRAYS[case], "rows.json") == [Row(1, {"text": "a"}), Row(2, {"text": "b"})]


def test_long_json_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    rows = [{"text": "\u00e9" * (index * 37 % 5000), "n": index} for index in range(500)]
    found = read(tmp_path, json.dumps(rows, ensure_ascii=False, indent=1).encode(), "rows.json")
    assert found == [Row(number, row) for number, row in enumerate(rows, start=1)]
    assert read(tmp_path, b" [ ] ", "rows.json") == []


def test_bad_row_of_a_json_array_is_reported_with_its_number(tmp_path: Path) -> None:
    content = rb'[{"text": "a"}, 5, {"text": "\ud83d"}, {"text": "b"}]'
    rows = read(tmp_path, content, "rows.json")
    assert [(row.line, type(row)) for row in rows] == [(1, Row), (2, BadRow), (3, BadRow), (4, Row)]


BROKEN_ARRAYS = {
    "Row 2 of rows.json is not JSON: Expecting": b'[{"text": "a"}, {"text" "b"}]',
    "Row 1 of rows.json is not JSON: ": b'[{"text": "a"',
    "after row 1 comes neither a comma nor": b'[{"text": "a"} {"text": "b"}]',
    "something follows its": b'[{"text": "a"}] {"text": "b"}',
    "Row 1 of rows.json cannot be used: an object has the key 'a' twice": b'[{"a": 1, "a": 2}]',
    "Row 1 of rows.json is no JSON of up to 1,048,576 bytes": b'[{"text": "' + b"x" * 3_000_000 + b'"}]',
    "rows.json is not UTF-8": b'[{"text": "caf\xe9"}]',
}


@pytest.mark.parametrize("sentence", BROKEN_ARRAYS)
def test_json_array_that_cannot_be_read_on_is_refused(tmp_path: Path, sentence: str) -> None:
    with pytest.raises(DataInvalid, match=sentence):
        read(tmp_path, BROKEN_ARRAYS[sentence], "rows.json")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=r"a\.jsonl cannot be read: No such file"):
        list(read_rows(tmp_path / "a.jsonl", name="a.jsonl"))


def test_csv_rows_have_the_line_where_they_begin(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbftext,category\r\n"two\r\nlines",a\r\n"with ""quotes"", and commas",b\r\n\r\nlast,c'
    )
    assert read(tmp_path, content, "rows.csv") == [
        Row(2, {"text": "two\r\nlines", "category": "a"}),
        Row(4, {"text": 'with "quotes", and commas', "category": "b"}),
        Row(6, {"text": "last", "category": "c"}),
    ]


CSV = {
    "too few fields": (b"a\n", "invalid_csv", "has 1 fields; the header has 2"),
    "too many fields": (b"a,b,c\n", "invalid_csv", "has 3 fields; the header has 2"),
    "bytes that are not UTF-8": (b"caf\xe9,b\n", "encoding", "Byte 4 of the line is not UTF-8"),
    "a NUL byte": (b"a\0,b\n", "nul_byte", "Byte 2 of the line is NUL"),
    "text after a closing quote": (b'"a"x,b\n', "invalid_csv", "not CSV"),
    "a line over 1 MiB": (b"x" * (MAX_LINE_BYTES + 1) + b",b\n", "line_too_long", "the limit is 1,048,576"),
}


@pytest.mark.parametrize("case", CSV)
def test_bad_csv_record_is_reported_with_its_line(tmp_path: Path, case: str) -> None:
    line, kind, message = CSV[case]
    rows = read(tmp_path, b"text,category\na,b\n" + line + b"c,d\n", "rows.csv")
    assert [(row.line, type(row)) for row in rows] == [(2, Row), (3, BadRow), (4, Row)]
    assert isinstance(rows[1], BadRow)
    assert rows[1].kind == kind
    assert message in rows[1].message


def test_csv_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, b",text,\n0,a,\n1,b\n2,c,,\n3,d,e\n", "rows.csv") == [
        Row(2, {"text": "a"}),
        BadRow(
            line=3, kind="invalid_csv", message="The record has 2 fields; the header has 3.", file="rows.csv"
        ),
        Row(4, {"text": "c"}),
        BadRow(
            line=5,
            kind="invalid_csv",
            message="Field 3 of the record has text, but the header has no name for it.",
            file="rows.csv",
        ),
    ]


def test_quote_that_is_never_closed_is_reported_where_it_opens(tmp_path: Path) -> None:
    found = bad(tmp_path, b'text,category\na,b\n"open,b\nc,d\n', "rows.csv")
    assert [(line, kind) for line, kind, _ in found] == [(3, "invalid_csv")]


HEADERS = {
    "two equal names": (b"text,n,text \n", "must name each column once: columns 1 and 3 have the same name."),
    "no names at all": (b",\n", "must name the columns."),
    "bytes that are not UTF-8": (
        b"caf\xe9,b\n",
        ", its header, cannot be read: Byte 4 of the line is not UTF-8. Save the file as UTF-8.",
    ),
    "text after a closing quote": (
        b'"text"x,b\n',
        ", its header, cannot be read: The record is not CSV: ',' expected after '\"'.",
    ),
}


@pytest.mark.parametrize("case", HEADERS)
def test_csv_header_that_cannot_be_used_is_refused_without_quoting_the_rows_after_it(
    tmp_path: Path, case: str
) -> None:
    header, message = HEADERS[case]
    with pytest.raises(DataInvalid) as caught:
        read(tmp_path, header + b"secret,secret\n" * 2, "rows.csv")
    space = "" if message.startswith(",") else " "
    assert caught.value.message == f"The first line of rows.csv{space}{message}"


def test_parquet_rows_are_numbered_and_only_the_columns_that_are_asked_for_are_decoded(
    tmp_path: Path,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    times = pa.array([2**63 - 1, 0], pa.timestamp("ns"))  # which Python cannot hold
    pq.write_table(pa.table({"text": ["a", "b"], "logged": times}), path)
    assert list(read_rows(path, name=path.name, columns={"text", "prompt"})) == [
        Row(1, {"text": "a"}),
        Row(2, {"text": "b"}),
    ]
    with pytest.raises(DataInvalid, match=r"has the columns text and logged, of which none is read"):
        list(read_rows(path, name=path.name, columns={"prompt"}))


def test_parquet_value_that_python_cannot_hold_is_reported_with_its_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": pa.array([0, 2**63 - 1], pa.timestamp("us"))}), path)
    rows = list(read_rows(path, name=path.name))
    assert [(row.line, type(row)) for row in rows] == [(1, Row), (2, BadRow)]


def test_parquet_map_is_an_object(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    arguments = pa.array([[("city", "Bern")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"arguments": arguments}), path)
    assert list(read_rows(path, name=path.name)) == [Row(1, {"arguments": {"city": "Bern"}})]


def test_parquet_row_with_a_string_that_is_not_utf_8_is_reported_with_its_number(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    strings = pa.array([b"a", b"caf\xe9", b"c"], pa.binary()).view(pa.string())  # what a careless writer does
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": strings}), path)
    message = "A string of the row is not UTF-8. Save the file with UTF-8 strings."
    assert list(read_rows(path, name="rows.parquet")) == [
        Row(1, {"text": "a"}),
        BadRow(line=2, kind="encoding", message=message, file="rows.parquet"),
        Row(3, {"text": "c"}),
    ]


def test_parquet_row_that_is_too_large_is_reported(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["a", "b" * (MAX_ROW_BYTES + 1), "c"]}), path)
    rows = list(read_rows(path, name=path.name))
    assert [(row.line, type(row)) for row in rows] == [(1, Row), (2, BadRow), (3, Row)]
    assert isinstance(rows[1], BadRow)
    assert rows[1].kind == "line_too_long"


def test_parquet_is_read_in_batches_of_bounded_size(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    text = pa.array([bytes([index]) * 1_000_000 for index in range(60)], pa.binary())
    pq.write_table(pa.table({"text": text}), path, compression="none", use_dictionary=False)
    del text
    before, most = pa.total_allocated_bytes(), 0
    for _ in read_rows(path, name=path.name):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 40_000_000


def _most_memory(path: Path) -> tuple[int, list[str]]:
    """MiB that a process comes to beside its start when 256 are allowed, and what it says of the rows."""
    script = """
import resource, sys
from pathlib import Path
import pyarrow.parquet
from kubetune_trainer.contract.errors import DataInvalid
from kubetune_trainer.data.parquet_rows import parquet_rows
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = most()
said = []
try:
    for row in parquet_rows(Path(sys.argv[1]), "rows.parquet", None, memory=256 << 20):
        said.append(getattr(row, "message", "good"))
except DataInvalid as error:
    said.append(error.message)
print(most() - before, *said[-2:], sep="\\n")
"""
    run = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    most, *said = run.stdout.splitlines()
    return int(most), said


def _zeros(count: int) -> Any:
    """One row with so many times nothing in a list, which takes no room in a file."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.nulls(count, pa.int8()))


@pytest.mark.slow
def test_a_small_parquet_file_does_not_take_all_memory_at_its_first_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    rows = pa.table({"messages": _zeros(100_000_000)})
    pq.write_table(rows, path, compression="zstd")
    assert path.stat().st_size < 4000
    most, [said] = _most_memory(path)
    assert most < 300
    assert said == (
        "rows.parquet takes more than 256 MiB of memory where row 1 is read: write it with smaller row "
        "groups and pages, or as JSON lines."
    )


def test_a_parquet_row_of_many_values_is_reported_whatever_they_take_in_the_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    nothing = pa.ListArray.from_arrays(pa.array([0, 3_000_000], pa.int32()), pa.nulls(3_000_000))
    pairs = pa.MapArray.from_arrays(
        pa.array([0, 1_000_000], pa.int32()),
        pa.array([str(number) for number in range(1_000_000)]),
        pa.nulls(1_000_000, pa.int8()),
    )
    for column in (nothing, pairs):
        pq.write_table(pa.table({"messages": column}), path)
        [row] = read_rows(path, name=path.name)
        assert isinstance(row, BadRow)
        assert row.kind == "line_too_long"
        assert row.message.endswith(",001 values; the limit is 1,000,000.")


@pytest.mark.slow
def test_a_parquet_value_that_many_rows_share_is_not_held_once_for_each(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows.parquet"
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 256, pa.int32()), pa.array(["y" * (10 << 20)]))
    pq.write_table(pa.table({"text": shared}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    most, said = _most_memory(path)
    assert most < 300
    assert said == ["good", "good"]


def test_a_csv_record_that_does_not_end_is_not_held(tmp_path: Path) -> None:
    record = b'text\n"' + (b"x" * 1000 + b'","\n') * 5000
    said = "The record of rows.csv.gz that begins on line 2 has more than 4 MiB: a quotation mark may"
    with pytest.raises(DataInvalid, match=said):
        read(tmp_path, gzip.compress(record), "rows.csv.gz")


@pytest.mark.parametrize("depth", [99, 102, 200, 600, 900, 980, 990, 995, 2000])
def test_no_nesting_is_too_deep_to_be_reported(tmp_path: Path, depth: int) -> None:
    value = b"[" * depth + b"]" * depth
    deep, good = read(tmp_path, b'{"messages": ' + value + b', "x": "\\u00e9"}\n' + GOOD)
    assert good == Row(2, {"text": "good"})
    reader = RowReader(DatasetConfig(), name="rows.jsonl", has_template=True)
    if depth < 100:
        assert isinstance(deep, Row)
        with pytest.raises(Findings):
            reader.read(deep)
    else:
        assert isinstance(deep, BadRow)
        assert deep.kind == "invalid_json"
        with pytest.raises(
            DataInvalid, match=r"levels of lists and objects|not JSON: a number or its nesting"
        ):
            read(tmp_path, b'[{"messages": ' + value + b"}]", "rows.json")
    with pytest.raises(Findings):  # a text that holds it
        reader.read(Row(1, {"messages": value.decode()}))


def test_rows_are_held_by_their_size_and_not_by_their_number_alone() -> None:
    def groups(sizes: list[int]) -> list[list[int]]:
        return list(portions(sizes, size=lambda size: size, limit=10, count=3))

    assert groups([]) == []
    assert groups([4, 6, 1, 99, 2, 2, 2, 2]) == [[4, 6], [1], [99], [2, 2, 2], [2]]


def test_large_file_is_read_without_holding_it(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "rows.jsonl"
    line = json.dumps({"text": "x" * 10_000}) + "\n"
    path.write_text(line * 3000)  # 30 MB
    tracemalloc.start()
    assert sum(1 for _ in read_rows(path, name=path.name)) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
