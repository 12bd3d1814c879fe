"""Multipart forms with one file, piece by piece. It reads no socket and holds no file. Pure."""

from __future__ import annotations

from typing import Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from .errors import ApiError

MAX_FIELDS: Final = 20
MAX_FIELD_BYTES: Final = 4096


class FormReader:
    """Fields of a form, and the bytes of the part that is the file, as they come.

    ``feed`` raises ApiError for what is no such form.
    """

    def __init__(self, content_type: str | None, *, file: str) -> None:
        self.fields: dict[str, str] = {}
        """Those that have come so far; of two alike the later one."""
        self.filename: str | None = None
        self.has_begun = False
        """Whether the file has come, or a part of it."""
        self._file = file
        self._has_ended = False
        self._count = 0
        self._pieces: list[bytes] = []
        self._header = bytearray(), bytearray()
        self._disposition = b""
        self._name: str | None = None
        self._value = bytearray()
        try:
            kind, options = parse_options_header(content_type)
            boundary = options.get(b"boundary")
            if kind != b"multipart/form-data" or not boundary:
                raise _wrong("its Content-Type must be multipart/form-data with a boundary")
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_part_end": self._part_ends,
                    "on_end": self._ends,
                },
            )
        except (FormParserError, UnicodeError) as error:
            raise _wrong(str(error)) from None

    def feed(self, data: bytes) -> list[bytes]:
        """Read on, and return what of the file is in it."""
        self._pieces = []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _wrong(str(error)) from None
        return self._pieces

    def finish(self) -> None:
        """There is no more. Raises ApiError where more must come, or the file did not."""
        if not self._has_ended:
            raise _wrong("it ends before its last boundary")
        if not self.has_begun:
            raise ApiError(
                f"The form has no file: send it as `{self._file}`.", code="missing_file", param=self._file
            )

    def _part_begins(self) -> None:
        self._disposition = b""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise _wrong(f"it has more than {MAX_FIELDS} parts")

    def _header_ends(self) -> None:
        name, value = map(bytes, self._header)
        self._header = bytearray(), bytearray()
        if name.lower() == b"content-disposition":
            self._disposition = value

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _wrong("a part of it has no name")
        self._name, self._value = _text(options[b"name"], "the name of a part"), bytearray()
        if self._name == self._file:
            if self.has_begun:
                raise _wrong(f"it has two parts of the name {self._file}")
            self.has_begun = True
            given = options.get(b"filename")
            self.filename = None if given is None else _text(given, "the file's name")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._file:
            self._pieces.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            raise _wrong(f"a part beside `{self._file}` has more than {MAX_FIELD_BYTES} bytes")

    def _part_ends(self) -> None:
        if self._name is not None and self._name != self._file:
            self.fields[self._name] = _text(self._value, "a field")

    def _ends(self) -> None:
        self._has_ended = True


def _text(data: bytes | bytearray, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _wrong(f"{what} is not UTF-8") from None


def _wrong(why: str) -> ApiError:
    return ApiError(f"The body is no form that can be read: {why}.", code="invalid_body")
