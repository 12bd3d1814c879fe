"""Multipart forms, in whatever pieces they come."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_gateway.wire.errors import ApiError
from kubetune_gateway.wire.forms import MAX_FIELD_BYTES, MAX_FIELDS, FormReader

KIND = 'multipart/form-data; boundary="edge"'


def part(name: str | bytes, value: bytes, *, filename: str | bytes | None = None) -> bytes:
    told = [b'Content-Disposition: form-data; name="', as_bytes(name), b'"']
    if filename is not None:
        told += [b'; filename="', as_bytes(filename), b'"\r\nContent-Type: application/octet-stream']
    return b"--edge\r\n" + b"".join(told) + b"\r\n\r\n" + value + b"\r\n"


def as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


def read(body: bytes, *, size: int = 10**9, kind: str | None = KIND) -> tuple[bytes, FormReader]:
    reader = FormReader(kind, file="file")
    pieces: list[bytes] = []
    for first in range(0, len(body), size):
        pieces += reader.feed(body[first : first + size])
    reader.finish()
    return b"".join(pieces), reader


@given(
    content=st.lists(st.binary(max_size=8) | st.sampled_from([b"\r\n--edge", b"\r\n--ed", b"\r", b"--"])).map(
        b"".join
    ),
    size=st.integers(1, 40),
    is_first=st.booleans(),
)
def test_a_file_is_read_byte_for_byte_however_it_comes_and_wherever_it_is(
    content: bytes, size: int, is_first: bool
) -> None:
    content = content.replace(b"\r\n--edge", b"\r\n--edgy")
    parts = [part("file", content, filename="rows ä.jsonl"), part("purpose", b"fine-tune")]
    found, reader = read(form(*(parts if is_first else parts[::-1])), size=size)
    assert found == content
    assert (reader.fields, reader.filename) == ({"purpose": "fine-tune"}, "rows ä.jsonl")


def test_a_file_needs_no_name_and_what_follows_the_form_does_not_matter() -> None:
    found, reader = read(form(part("file", b"rows")) + b"and more\r\n--edge")
    assert (found, reader.filename) == (b"rows", None)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (form(part("file", b"")), None, "Content-Type"),
        (form(part("file", b"")), "multipart/form-data", "boundary"),
        (form(part("file", b"")), "multipart/form-data; boundary=" + "x" * 257, "Boundary length"),
        (form(part("file", b"")), "multipart/form-data; boundary=\u20ac", "latin-1"),
        (b"file=rows", "application/x-www-form-urlencoded", "Content-Type"),
        (b"file=rows", KIND, "boundary"),
        (form(part("purpose", b"fine-tune")), KIND, "no file"),
        (form(), KIND, "no file"),
        (b"", KIND, "ends before"),
        (form(part("file", b"rows"))[:-8], KIND, "ends before"),
        (form(part("file", b"1"), part("file", b"2")), KIND, "two parts"),
        (form(*[part(f"f{n}", b"") for n in range(MAX_FIELDS + 1)]), KIND, "more than"),
        (form(part("purpose", b"x" * (MAX_FIELD_BYTES + 1))), KIND, "more than"),
        (form(part("purpose", "für".encode("latin-1"))), KIND, "UTF-8"),
        (form(part("für".encode("latin-1"), b"")), KIND, "UTF-8"),
        (form(part("file", b"", filename="ä".encode("latin-1"))), KIND, "UTF-8"),
        (form(b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n"), KIND, "no name"),
        (form(b"--edge\r\n" + b"a" * 9000), KIND, "header"),
    ],
)
def test_what_is_no_form_with_one_file_is_refused(body: bytes, kind: str | None, says: str) -> None:
    with pytest.raises(ApiError, match=says) as refused:
        read(body, kind=kind)
    assert refused.value.status == 400


@given(st.binary(max_size=200), st.text(max_size=40))
def test_nothing_makes_it_fail_otherwise(body: bytes, boundary: str) -> None:
    for text in (body, b"--edge\r\n" + body, part("file", body), part(body, b"")):
        for kind in (KIND, f"multipart/form-data; boundary={boundary}"):
            with suppress(ApiError):
                read(text, kind=kind, size=7)
