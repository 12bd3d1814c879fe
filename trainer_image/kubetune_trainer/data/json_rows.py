"""Rows of JSON: one object a line, or an array of objects that is read one by one."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..contract.errors import BadRow, DataInvalid
from .files import BOM
from .json_text import MAX_DEPTH, DuplicateKey, decode, is_deep, kind_of, leaves, once
from .lines import MAX_LINE_BYTES, line_problem, lines
from .row import Row

_CHUNK = 64 * 1024
_SPACE = " \t\r\n"


def jsonl_rows(file: BinaryIO, name: str) -> Iterator[Row | BadRow]:
    """One object a line; empty lines are skipped."""
    for number, line in lines(file, name):
        problem = line_problem(line)
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


def array_rows(file: BinaryIO, name: str) -> Iterator[Row | BadRow]:
    """Objects of one array, numbered from 1; no more of the file is held than an object takes.

    Raises:
        DataInvalid: it is no array, or one that cannot be read further.
    """
    text = _Text(file, name)
    text.expect("[", "it does not begin with [")
    number = 0
    if text.peek() == "]":
        text.expect("]", "")
    else:
        while True:
            number += 1
            value = text.value(number)
            problem = _row_problem(value, "row")
            if isinstance(value, dict) and problem is None:
                yield Row(number, value)
            elif problem is not None:
                yield BadRow(line=number, kind=problem[0], message=problem[1], file=name)
            if text.peek() == "]":
                text.expect("]", "")
                break
            text.expect(",", f"after row {number} comes neither a comma nor ]")
    if text.peek():
        raise DataInvalid(f"{name} is no JSON array: something follows its ].")


class _Text:
    """A file as text, of which a part is held."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder(object_pairs_hook=once)
        self._held = ""
        self._at = 0
        self._ended = False
        self._more()
        self._held = self._held.removeprefix(BOM.decode())

    def _more(self, size: int = _CHUNK) -> None:
        data = self._file.read(size)
        self._ended = not data
        try:
            self._held = self._held[self._at :] + self._decode.decode(data, final=not data)
        except UnicodeDecodeError:
            raise DataInvalid(f"{self._name} is not UTF-8: save it as UTF-8.") from None
        self._at = 0

    def peek(self) -> str:
        """The next character that is no white space; nothing at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._held) or self._ended:
                return self._held[self._at : self._at + 1]
            self._more()

    def expect(self, character: str, otherwise: str) -> None:
        if self.peek() != character:
            raise DataInvalid(f"{self._name} is no JSON array of objects: {otherwise}.")
        self._at += 1

    def value(self, number: int) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._at)
            except DuplicateKey as error:
                raise DataInvalid(f"Row {number} of {self._name} cannot be used: {error}.") from None
            except json.JSONDecodeError as error:
                problem = error.msg
            except (ValueError, RecursionError):
                problem = "a number or its nesting is too large"
            else:
                # A number or a word may go on in what has not been read yet.
                if end < len(self._held) or self._ended:
                    if is_deep(value, self._held[self._at : end]):
                        raise DataInvalid(
                            f"Row {number} of {self._name} has more than {MAX_DEPTH} levels of lists and "
                            "objects within each other."
                        )
                    self._at = end
                    return value
                problem = "it does not end"
            held = len(self._held) - self._at
            if held > MAX_LINE_BYTES:
                raise DataInvalid(
                    f"Row {number} of {self._name} is no JSON of up to {MAX_LINE_BYTES:,} bytes: {problem}."
                )
            if self._ended:
                raise DataInvalid(f"Row {number} of {self._name} is not JSON: {problem}.")
            self._more(max(_CHUNK, held))  # doubled, so that a long row is not decoded once per chunk


def _parse(line: bytes) -> dict[str, Any] | tuple[str, str]:
    try:
        value = decode(line.strip())
    except DuplicateKey as error:
        return "duplicate_key", f"The line cannot be used: {error}. Keep one of them."
    except json.JSONDecodeError as error:
        return "invalid_json", f"The line is not JSON: {error.msg} at column {error.colno}."
    except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
        return "invalid_json", "The line is not JSON that can be read: a number or its nesting is too large."
    escaped = b"\\u" in line
    problem = _row_problem(value, "line") if escaped or not isinstance(value, dict) else None
    return problem or value


def _row_problem(value: Any, what: str) -> tuple[str, str] | None:
    """(class, message) of a value that is no row, or has characters that no text has."""
    if not isinstance(value, dict):
        return "data_type", f"The {what} is {kind_of(value)}, not an object."
    strings = [leaf for leaf in leaves(value) if isinstance(leaf, str)]
    if any("\0" in text for text in strings):
        return "nul_byte", rf"The {what} has a NUL character (\u0000). Remove it."
    try:
        for text in strings:
            text.encode()
    except UnicodeEncodeError:
        return "encoding", f"The {what} has half of a character (a \\ud... escape without its other half)."
    return None
