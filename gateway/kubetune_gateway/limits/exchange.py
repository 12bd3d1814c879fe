"""One request and its answer: what of the body may come, by when, and how the connection ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from ..wire.errors import ApiError, too_large
from .kinds import Kind, Limits, answer_seconds, body_bytes

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

_LINGER_SECONDS: Final = 2
"""For which what a client still sends is read and thrown away, so that it sees the answer: a connection that
is closed before that is reset."""


class Exchange:
    """Stands between the server and the application."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        kind: Kind,
        limits: Limits,
        headers: Iterable[Header],
        hold: Callable[[int], bool],
        count: Callable[[str], None],
        slots: asyncio.Semaphore,
    ) -> None:
        self._receive, self._send = receive, send
        self.kind, self._limits = kind, limits
        self._hold, self._count, self._slots = hold, count, slots
        given = dict(headers)
        self._declared = given.get(b"content-length", b"0")
        self._is_whole = self._declared == b"0" and b"transfer-encoding" not in given
        """Whether all of the body was read."""
        self._bytes = 0
        self._has_slot = self._has_begun = self._runs = self._closes = False
        self._last: Message | None = None
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self._answer = asyncio.timeout(None)
        self.headers: list[Header] = []
        """What every answer has beside."""

    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        """Let the application answer. Raises ApiError where it is refused to, and nothing was answered."""
        if self._declared.isdigit() and int(self._declared[:20]) > body_bytes(self._limits, self.kind):
            raise self._too_large()
        try:
            async with self._answer:
                self._runs = True
                self._set_deadline()
                await app(self.receive, self.send)
        except TimeoutError:
            if not self._answer.expired() or self._has_begun:
                raise
            raise self._refused("answer_seconds", busy("This takes too long now")) from None
        finally:
            self._runs = False
            if self._has_slot:
                self._slots.release()

    async def receive(self) -> Message:
        """More of the body. Raises ApiError where it is too long or too slow."""
        if self._is_whole:
            return await self._receive()
        if self.kind.is_upload:
            await self._take_slot()
        message = await self._timely()
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self._bytes += size
            if self._bytes > body_bytes(self._limits, self.kind):
                raise self._too_large()
            if not self.kind.is_upload:
                self._hold_bytes(size)
            if not message.get("more_body", False):
                self._is_whole = True
                self._set_deadline()
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer. The last one waits for `close` where the body was not read to its end."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            self._set_deadline()
            self._closes = not self._is_whole
            more = [*self.headers, (b"connection", b"close")] if self._closes else self.headers
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        elif self._closes and not message.get("more_body", False):
            self._last = {"type": "http.response.body", "body": b""}
            message = {**message, "more_body": True}
        async with asyncio.timeout(self._limits.unread_seconds):
            await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error."""
        if self._has_begun:
            raise error
        body = json.dumps(error.body()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if error.retry_after is not None:
            headers.append((b"retry-after", str(error.retry_after).encode()))
        await self.send({"type": "http.response.start", "status": int(error.status), "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def close(self) -> None:
        """End an answer that was given before the body had come."""
        if self._last is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    while (await self._receive()).get("more_body", False):
                        pass
            await self._send(self._last)

    def _set_deadline(self) -> None:
        """Bound the time from the body's end to the beginning of the answer, and no other."""
        if not self._runs or self._answer.expired():
            return
        seconds = answer_seconds(self._limits, self.kind)
        waits = self._is_whole and not self._has_begun and seconds is not None
        self._answer.reschedule(self._now() + seconds if waits and seconds is not None else None)

    def _refused(self, limit: str, error: ApiError) -> ApiError:
        self._count(limit)
        return error

    def _too_large(self) -> ApiError:
        match self.kind:
            case Kind.FILE:
                return self._refused("file_bytes", too_large(self._limits.file_bytes))
            case Kind.PART:
                limit, code = self._limits.part_bytes, "file_too_large"
            case _:
                limit, code = body_bytes(self._limits, self.kind), "request_too_large"
        error = ApiError(
            f"The body is larger than {limit} bytes.", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code=code
        )
        return self._refused("body_bytes", error)

    async def _timely(self) -> Message:
        """What comes next, if it comes in time."""
        if self.kind.is_upload:
            end = min(self._now() + self._limits.pause_seconds, self._began + self._limits.upload_seconds)
        else:
            end = self._began + self._limits.body_seconds
        try:
            async with asyncio.timeout_at(end):
                return await self._receive()
        except TimeoutError:
            error = ApiError(
                "The body did not come in time: send it again.",
                status=HTTPStatus.REQUEST_TIMEOUT,
                code="body_too_slow",
            )
            raise self._refused("body_seconds", error) from None

    async def _take_slot(self) -> None:
        if self._has_slot:
            return
        try:
            async with asyncio.timeout(self._limits.pause_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise self._refused("uploads", busy("Too many uploads are under way here")) from None
        self._has_slot = True

    def _hold_bytes(self, size: int) -> None:
        if not self._hold(size):
            raise self._refused("held_bytes", busy("Too many bytes are under way here"))


def busy(what: str) -> ApiError:
    """Another try may find more room."""
    return ApiError(
        f"{what}; try again.", status=HTTPStatus.SERVICE_UNAVAILABLE, code="overloaded", retry_after=5
    )
