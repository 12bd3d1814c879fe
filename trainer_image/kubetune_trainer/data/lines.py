"""Lines of a file, of bounded size, with what is wrong with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ..contract.errors import DataInvalid
from .files import BOM

MAX_LINE_BYTES = 1024 * 1024
"""Longest line: a longer one is no training row."""

MAX_SKIPPED_BYTES = 64 * 1024 * 1024
"""A line beyond it is not read to its end: it is a file without line ends."""


def lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes | int]]:
    """Yield (line number, line), or the line's size where it is too long; memory use is bounded.

    Raises:
        DataInvalid: a line does not end.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if len(line.rstrip(b"\r\n")) <= MAX_LINE_BYTES:
            yield number, line.removeprefix(BOM) if number == 1 else line
            continue
        size = 0
        while line:
            size += len(line.rstrip(b"\r\n"))
            if size > MAX_SKIPPED_BYTES:
                raise DataInvalid(
                    f"Line {number} of {name} has more than {MAX_SKIPPED_BYTES:,} bytes (64 MiB): rows must "
                    f"be on lines of their own, of up to {MAX_LINE_BYTES:,} bytes."
                )
            line = b"" if line.endswith(b"\n") else file.readline(MAX_LINE_BYTES)
        yield number, size


def line_problem(line: bytes | int) -> tuple[str, str] | None:
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
