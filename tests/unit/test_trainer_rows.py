"""Reading rows: every kind of bad line with its number, and files that are no text at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubetune_trainer.contract.errors import BadRow, DataInvalid
from kubetune_trainer.data.portions import portions
from kubetune_trainer.data.rows import MAX_LINE_BYTES, Row, read_rows

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
    "is UTF-16": ("rows.jsonl", '{"text": "a"}'.encode("utf-16")),
    "is a binary file": ("rows.jsonl", bytes(range(256)) * 8 + b"\0" * 40),
    "is one JSON array": ("rows.jsonl", b'[\n{"text": "a"}\n]'),
    "must end in .jsonl, .csv or .parquet": ("rows.json", GOOD),
    "is not a Parquet file": ("rows.parquet", b"nothing of the kind"),
}


@pytest.mark.parametrize("sentence", FILES)
def test_file_that_holds_no_rows_is_refused(tmp_path: Path, sentence: str) -> None:
    name, content = FILES[sentence]
    with pytest.raises(DataInvalid, match=sentence):
        read(tmp_path, content, name)


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


def test_quote_that_is_never_closed_is_reported_where_it_opens(tmp_path: Path) -> None:
    found = bad(tmp_path, b'text,category\na,b\n"open,b\nc,d\n', "rows.csv")
    assert [(line, kind) for line, kind, _ in found] == [(3, "invalid_csv")]


HEADERS = {
    "two equal names": (b"text,n,text \n", "must name each column once: columns 1 and 3 have the same name."),
    "no name": (b"text,\n", "must name each column once: column 2 has no name."),
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


def test_parquet_rows_are_numbered_and_lose_the_nulls_of_other_rows(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"messages": [{"role": "user", "content": "a"}]},
        {"messages": [{"role": "assistant", "content": None, "weight": 1}]},
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert list(read_rows(path, name="rows.parquet")) == [
        Row(1, {"messages": [{"role": "user", "content": "a"}]}),
        Row(2, {"messages": [{"role": "assistant", "content": None, "weight": 1}]}),
    ]


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
