"""A form with a file, read from the socket while the file goes to where it belongs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi import Request

from ..wire.forms import FormReader


class Incoming:
    """A form as it comes: `begin`, then `content` to its end, then all of `fields`."""

    def __init__(self, request: Request, *, file: str) -> None:
        self._reader = FormReader(request.headers.get("content-type"), file=file)
        self._body = request.stream()
        self._read: list[bytes] = []

    @property
    def fields(self) -> Mapping[str, str]:
        """Fields that have come so far."""
        return self._reader.fields

    @property
    def filename(self) -> str | None:
        """The file's name, as the client gave it."""
        return self._reader.filename

    async def begin(self) -> None:
        """Read until the file begins. Raises ApiError for what is no form with a file."""
        async for chunk in self._body:
            self._read = self._reader.feed(chunk)
            if self._reader.has_begun:
                return
        self._reader.finish()

    async def content(self) -> AsyncIterator[bytes]:
        """The file, piece by piece. Raises ApiError where the form does not come to its end."""
        for piece in self._read:
            yield piece
        async for chunk in self._body:
            for piece in self._reader.feed(chunk):
                yield piece
        self._reader.finish()
