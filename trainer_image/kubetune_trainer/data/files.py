"""What a file is, by its name and by its first bytes, and its content without compression.

A file that is of another kind than its name says is refused in one sentence, not once per row.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, cast

from ..contract.errors import DataInvalid, first_line

Form = Literal["jsonl", "json", "csv", "parquet"]

_FORMS: dict[str, Form] = {".jsonl": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
ENDINGS = ".jsonl, .json, .csv or .parquet, the first three also with .gz or .zst after it"
"""How names of files end, for sentences."""

BOM = b"\xef\xbb\xbf"

_PARQUET = b"PAR1"
_MAGIC = {
    b"\x1f\x8b": "gzip-compressed: let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "zstd-compressed: let its name end in .zst",
    b"BZh": "bzip2-compressed: unpack it, or compress it with gzip or zstd",
    b"\xfd7zXZ\0": "xz-compressed: unpack it, or compress it with gzip or zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    _PARQUET: "a Parquet file: let its name end in .parquet",
    b"ARROW1": "an Arrow file: save it as Parquet",
    b"Obj\x01": "an Avro file: save it as Parquet",
    b"SQLite format 3\0": "an SQLite database: export the rows as JSON lines",
    b"%PDF": "a PDF document: write its text as rows",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls): save it as CSV UTF-8",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}
_HEAD = 64 * 1024
_FEW_NULS = 16  # in the first 4 KiB; fewer are single bad lines


@dataclass(frozen=True, slots=True)
class FileKind:
    """What the name of a file says."""

    form: Form
    compression: Literal["gzip", "zstd"] | None
    stem: str
    """The name without its endings."""


def kind_of_name(name: str) -> FileKind | None:
    """What a name or path says about the file, in upper or lower case; None if it is no file of rows."""
    path = PurePosixPath(name)
    compression = _COMPRESSIONS.get(path.suffix.lower())
    if compression:
        path = path.with_suffix("")
    form = _FORMS.get(path.suffix.lower())
    if form is None or (compression and form == "parquet"):
        return None
    return FileKind(form, cast(Literal["gzip", "zstd"] | None, compression), path.stem)


@contextmanager
def opened(path: Path, name: str, kind: FileKind) -> Iterator[BinaryIO]:
    """The file's content, decompressed as it is read.

    Raises:
        DataInvalid: it cannot be read, or is no such compressed file.
    """
    try:
        with path.open("rb") as raw:
            if kind.compression is None:
                yield raw
            else:
                with _decompressed(raw, kind.compression) as plain:
                    yield cast(BinaryIO, plain)
    except OSError as error:  # of pyarrow too
        why = error.strerror or f"it is no whole {kind.compression} file ({first_line(error)})"
        raise DataInvalid(f"{name} cannot be read: {why}.") from None


def _decompressed(raw: BinaryIO, compression: str) -> io.BufferedReader:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), compression)
    return io.BufferedReader(stream, buffer_size=_HEAD)


def form_of(path: Path, name: str, kind: FileKind) -> Form:
    """How a file is to be read, by its beginning: one of JSON lines may be called .json.

    Raises:
        DataInvalid: it is empty, or something else than its name says.
    """
    with opened(path, name, kind) as file:
        head = file.read(_HEAD)
    if not head:
        raise DataInvalid(f"{name} is empty.")
    if other := None if kind.form == "parquet" and head.startswith(_PARQUET) else _other_kind(head):
        raise DataInvalid(f"{name} is {other}.")
    if kind.form == "parquet":
        return kind.form
    text = head.removeprefix(BOM).lstrip()
    if kind.form == "csv":
        _require_commas(text, name)
        return kind.form
    if text.startswith(b"["):
        if kind.form == "json":
            return kind.form
        raise DataInvalid(
            f"{name} is one JSON array: write one JSON object per line instead, or let its name end in .json."
        )
    if text.startswith(b"{") and _over_several_lines(text, whole=len(head) < _HEAD):
        raise DataInvalid(
            f"{name} has JSON objects over several lines: write one JSON object per line, without line ends "
            "within it."
        )
    return "jsonl"


def _other_kind(head: bytes) -> str | None:
    """What a beginning says that is no text of rows."""
    if head.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in head or b"xl/" in head:
            return "an Excel workbook (.xlsx): save it as CSV UTF-8"
        return "a zip archive: unpack it"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it"
    first = head[:4096]
    if first.count(0) > _FEW_NULS:
        halves = first[: len(first) // 2 * 2]
        if min(halves[0::2].count(0), halves[1::2].count(0)) == 0:
            return "UTF-16: save it as UTF-8"
        return "a binary file (it has NUL bytes), not UTF-8 text"
    text = first.removeprefix(BOM).lstrip().lower()
    if text.startswith(b"version https://git-lfs.github.com/spec"):
        return "a Git LFS pointer, which names the file and is not the file: fetch the file with git lfs pull"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a page of HTML or XML, not rows: perhaps a login page was saved in place of the file"
    if b"\r" in head and b"\n" not in head and len(head.rstrip(b"\r").split(b"\r")) > 1:
        return "a file whose lines end with CR alone: save it with LF or CRLF"
    return None


def _over_several_lines(text: bytes, *, whole: bool) -> bool:
    """Whether the first line is no object, but the beginning of one."""
    first, newline, _ = text.partition(b"\n")
    if not newline:
        return False
    try:
        json.loads(first)
        return False
    except (ValueError, RecursionError):
        pass
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode(errors="replace"))
        return end > len(first)
    except json.JSONDecodeError as error:
        # The object may be longer than what was read of it.
        return not whole and error.pos > len(first.decode(errors="replace")) + 1
    except (ValueError, RecursionError):
        return False


def _require_commas(text: bytes, name: str) -> None:
    header = text.partition(b"\n")[0]
    for separator, called in ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "bars")):
        if header.count(separator) > header.count(b","):
            raise DataInvalid(
                f"The fields of {name} are separated by {called}: save it as CSV that is separated by commas."
            )
