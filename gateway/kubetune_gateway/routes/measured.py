"""All requests, counted and timed: as ASGI, since streams pass here piece by piece."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..telemetry import Telemetry

UNKNOWN: Final = "unknown"
"""Route of paths that are none of the API: what a client wrote is no label."""
GONE: Final = 499
"""Code of an answer whose client went away before its end, as proxies have it."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """The application, and what is told of each request to it.

    A route is its own template without the prefix under which it is served: the same for OpenAI's paths and
    Azure's.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, answer, told = perf_counter(), _Answer(receive, send), self._telemetry
        told.in_flight.inc()
        try:
            await self._app(scope, answer.receive, answer.send)
        finally:
            told.in_flight.dec()
            method = scope["method"] if scope["method"] in _METHODS else UNKNOWN
            route = getattr(scope.get("route"), "path", UNKNOWN)  # routing leaves it there
            told.requests.labels(method, route, str(answer.code)).inc()
            told.seconds.labels(method, route).observe(perf_counter() - begun)


class _Answer:
    """One answer on its way to a client."""

    __slots__ = ("_complete", "_gone", "_receive", "_send", "_status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._complete = self._gone = False

    async def receive(self) -> Message:
        message = await self._receive()
        # After the end of an answer it is said as well, and means nothing.
        if message["type"] == "http.disconnect" and not self._complete:
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif not message.get("more_body", False):
            self._complete = True

    @property
    def code(self) -> int:
        """What came of it."""
        if self._gone:
            return GONE
        return self._status if self._complete else int(HTTPStatus.INTERNAL_SERVER_ERROR)
