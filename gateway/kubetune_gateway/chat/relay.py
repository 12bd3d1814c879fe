"""One question on its way to a server, and the answer on its way back, as it comes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from kubetune.vocabulary.json_values import dict_of, int_of

from ..models.target import Target
from ..telemetry import Telemetry
from ..wire.errors import ApiError
from .events import Events
from .question import Question
from .upstream import SERVER, BrokenError, RefusedError, Upstream, pieces, whole

Keep = Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]]
"""Gets an answer that came to its end, as the client does: in one piece, or in those of a stream. It is
called before the client has the end, and raises nothing."""

_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"

_BROKEN: Final = b"\n\ndata: %s\n\n" % (
    json.dumps(
        ApiError(
            f"{SERVER} stopped in the middle of its answer; ask again.",
            status=HTTPStatus.BAD_GATEWAY,
            code="stream_interrupted",
        ).body()
    ).encode()
)
"""An event of its own, also where half of another one has been sent."""


class Relay(Response):
    """The answer to a question; it is asked when this is sent, and no longer than the client listens.

    Raises ApiError while nothing has been sent.
    """

    def __init__(
        self,
        question: Question,
        target: Target,
        *,
        path: str,
        upstream: Upstream,
        telemetry: Telemetry,
        namespace: str,
        request_id: str,
        keep: Keep | None = None,
    ) -> None:
        super().__init__()
        self._question = question
        self._target = target
        self._url = f"{target.url.rstrip('/')}/{path}"
        self._body = question.to_server(target.served_name)
        self._upstream = upstream
        self._telemetry = telemetry
        self._labels = (namespace, target.label)
        self._id = request_id
        self._keep = keep
        self._since = time.monotonic()

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _while_connected(receive, self._relay(send))

    async def _relay(self, send: Send) -> None:
        headers = {"Content-Type": _JSON, "Accept-Encoding": "identity", "X-Request-Id": self._id}
        try:
            async with self._upstream.ask(self._url, self._body, headers=headers) as answer:
                if answer.content_type == _STREAM:
                    await self._stream(answer, send)
                else:
                    await self._whole(answer, send)
        except RefusedError as refused:
            more = {} if refused.retry_after is None else {"retry-after": refused.retry_after}
            await self._send(send, refused.status, refused.body, more)

    async def _whole(self, answer: ClientResponse, send: Send) -> None:
        try:
            found = await whole(answer)
        except BrokenError as error:
            raise self._upstream.silent() from error
        found["model"] = self._question.model
        await self._end([found], dict_of(found.get("usage")))
        await self._send(send, HTTPStatus.OK, json.dumps(found, separators=(",", ":")).encode(), {})

    async def _stream(self, answer: ClientResponse, send: Send) -> None:
        keeps = self._keep is not None
        events = Events(self._question.model, tells_usage=self._question.counts_itself, keeps=keeps)
        begun = ended = False
        with suppress(BrokenError):
            async for piece in pieces(answer):  # to its end: then the connection can be used again
                some = events.feed(piece)
                if not begun:  # not before: a server that is lost until then is one that does not answer
                    begun = True
                    seconds = time.monotonic() - self._since
                    self._telemetry.first_token_seconds.labels(*self._labels).observe(seconds)
                    await self._begin(send, HTTPStatus.OK, answer.headers["Content-Type"], {})
                if events.is_done and not ended:
                    ended = True
                    await self._end(events.pieces, events.usage)
                if some:
                    await send({"type": "http.response.body", "body": some, "more_body": True})
        if not begun:
            raise self._upstream.silent()
        await send({"type": "http.response.body", "body": b"" if ended else _BROKEN})

    async def _end(self, answer: Sequence[Mapping[str, Any]], usage: Mapping[str, Any]) -> None:
        for kind in ("prompt", "completion"):
            self._telemetry.tokens.labels(*self._labels, kind).inc(
                max(0, int_of(usage.get(f"{kind}_tokens")))
            )
        if self._keep is not None:
            await self._keep(answer)

    async def _send(self, send: Send, status: int, body: bytes, more: Mapping[str, str]) -> None:
        await self._begin(send, status, _JSON, {"content-length": str(len(body)), **more})
        await send({"type": "http.response.body", "body": body})

    async def _begin(self, send: Send, status: int, kind: str, more: Mapping[str, str]) -> None:
        headers = {"content-type": kind, "x-request-id": self._id, **more}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do some work, or as much of it as is done when the client goes away."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
