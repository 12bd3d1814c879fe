"""Servers of models over HTTP: one pool of connections, and one answer to all of their faults."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import (
    AddrInfoType,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)

from ..telemetry import Telemetry
from ..wire.errors import ApiError, unavailable

CONNECT_SECONDS: Final = 5.0
"""A Service whose pods are gone refuses at once, or nobody answers there."""

_IDLE_SECONDS: Final = 2.0
"""A connection is given up before the server does, which would lose a question: uvicorn waits 5 seconds."""

_KEEPALIVE: Final = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
"""Seconds and probes: a node that is lost says nothing, and is given up after a minute."""

_ERROR_BYTES: Final = 65_536
"""More of a refusal nobody reads."""

_SAID: Final = 1000
"""Characters of one that is in no known form."""

_PASSED: Final = frozenset({400, 404, 408, 413, 415, 422, 429, 500})
"""Statuses that mean to the client what they mean here. A server's 401 is about a key that is not the
client's, and after its 409 clients would try again for nothing."""

SERVER: Final = "The model's server"

_FAULTS: Final = (ClientError, OSError, TimeoutError)


class BrokenError(Exception):
    """A server that stopped in the middle of its answer."""


class RefusedError(Exception):
    """A server's own refusal, in OpenAI's envelope, which is passed on as it is."""

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.retry_after = retry_after


class Upstream:
    """All servers of models. ``session`` is that of aiohttp."""

    def __init__(self, session: ClientSession, telemetry: Telemetry) -> None:
        self._session = session
        self._telemetry = telemetry

    @asynccontextmanager
    async def ask(
        self, url: str, body: bytes, *, headers: Mapping[str, str]
    ) -> AsyncIterator[ClientResponse]:
        """Ask a server. While the context lasts its answer, which is a good one, can be read.

        Who leaves the context ends the question: the server sees that nobody listens any more.

        Raises ApiError with 503 where nobody answers, and RefusedError.
        """
        try:
            answer = await self._session.post(url, data=body, headers=headers, allow_redirects=False)
        except _FAULTS as error:
            raise self.silent() from error
        async with answer:
            if answer.status != HTTPStatus.OK:
                raise await self._refusal(answer)
            yield answer

    def silent(self) -> ApiError:
        """Of a server that does not answer; clients try again."""
        self._telemetry.outages.labels("server").inc()
        return unavailable(SERVER)

    async def _refusal(self, answer: ClientResponse) -> Exception:
        body = b""
        try:
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _ERROR_BYTES:
                    break
        except _FAULTS:
            return self.silent()
        status = answer.status
        if status in _PASSED and _is_envelope(body):
            return RefusedError(status, body, answer.headers.get("Retry-After"))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return self.silent()
        if status in _PASSED:
            said = body.decode(errors="replace")[:_SAID]
            return ApiError(f"{SERVER} says: {said}", status=HTTPStatus(status), code="refused_by_server")
        return ApiError(f"{SERVER} refuses the gateway, with {status}.", code="refused_by_server")


async def pieces(answer: ClientResponse) -> AsyncIterator[bytes]:
    """An answer's bytes as they come. Raises BrokenError when they stop before its end."""
    try:
        async for piece in answer.content.iter_any():
            yield piece
    except _FAULTS as error:
        raise BrokenError from error


async def whole(answer: ClientResponse) -> dict[str, Any]:
    """An answer of one piece. Raises BrokenError where it is none."""
    try:
        found = json.loads(await answer.read())
    except (*_FAULTS, ValueError) as error:
        raise BrokenError from error
    if not isinstance(found, dict):
        raise BrokenError
    return found


@asynccontextmanager
async def sessions() -> AsyncIterator[ClientSession]:
    """A session for Upstream: any number of connections, and all the time that an answer takes."""
    timeout = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    connector = TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS, socket_factory=_socket)
    async with ClientSession(connector=connector, timeout=timeout, cookie_jar=DummyCookieJar()) as session:
        yield session


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _is_envelope(body: bytes) -> bool:
    try:
        error = json.loads(body).get("error")
    except (ValueError, AttributeError):
        return False
    return isinstance(error, dict) and isinstance(error.get("message"), str)
