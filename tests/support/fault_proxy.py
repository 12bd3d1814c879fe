"""A proxy between the operator and a real API server that breaks what it is told to, and counts writes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from kubetune.cluster.kube.connection import new_session

_HOP_HEADERS: Final = {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(slots=True, eq=False)
class _Stream:
    """An open watch."""

    plural: str
    response: web.StreamResponse
    task: asyncio.Task[Any] | None
    muted: bool = False


@dataclass(slots=True)
class FaultProxy:
    """Plain HTTP in front of an API server."""

    upstream: Configuration
    refuse: int | None = None
    """Status that every request gets, as during an outage."""
    lose: str | None = None
    """Method of requests that are passed on and whose answers are lost."""
    writes: list[str] = field(default_factory=list)
    """Method and path of every request that changes something and was passed on."""
    paths: set[str] = field(default_factory=set)
    """Paths of all requests."""
    deaf: set[str] = field(default_factory=set)
    """Plurals whose new watches say nothing."""
    url: str = ""
    _streams: set[_Stream] = field(default_factory=set)
    _session: aiohttp.ClientSession | None = None
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._session = new_session(self.upstream)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session
        assert self._runner
        self.cut()
        await self._runner.cleanup()
        await self._session.close()

    @property
    def configuration(self) -> Configuration:
        """What the operator gets to reach the API server through this proxy."""
        configuration = Configuration()
        configuration.host = self.url
        return configuration

    def watches(self, plural: str) -> int:
        """Number of open watches that are heard."""
        return sum(stream.plural == plural and not stream.muted for stream in self._streams)

    def cut(self) -> None:
        """Break all watches."""
        for stream in list(self._streams):
            if stream.task:
                stream.task.cancel()

    def mute(self) -> None:
        """Let all open watches say nothing more, without an end: what a lost NAT entry does."""
        for stream in self._streams:
            stream.muted = True

    def deafen(self, plural: str) -> None:
        """Let all watches of a kind say nothing, those that are opened later too."""
        self.deaf.add(plural)
        for stream in self._streams:
            stream.muted |= stream.plural == plural

    def restore(self, plural: str) -> None:
        """Let watches of a kind be heard again; the silent ones end."""
        self.deaf.discard(plural)
        for stream in list(self._streams):
            if stream.plural == plural and stream.task:
                stream.task.cancel()

    async def send_error(self, plural: str) -> int:
        """Send an error into open watches, then end them; return how many there were."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": 500,
            "message": "injected",
        }
        line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        found = [stream for stream in self._streams if stream.plural == plural]
        for stream in found:
            stream.muted = True
            await stream.response.write(line)
        return len(found)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.refuse is not None:
            return web.json_response({"kind": "Status", "message": "outage"}, status=self.refuse)
        self.paths.add(request.path)
        if request.method in WRITES:
            self.writes.append(f"{request.method} {request.path}")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_HEADERS}
        assert self._session
        try:
            async with self._session.request(
                request.method,
                self.upstream.host + request.raw_path,
                data=await request.read() or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_HEADERS}
                if "watch" in request.query:
                    return await self._stream(request, answer, kept)
                body = await answer.read()
                if request.method == self.lose:
                    return web.json_response({"kind": "Status", "message": "lost"}, status=504)
                return web.Response(status=answer.status, body=body, headers=kept)
        except aiohttp.ClientError:
            return web.json_response({"kind": "Status", "message": "no upstream"}, status=503)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        plural = request.path.rpartition("/")[2]
        stream = _Stream(plural, response, asyncio.current_task(), muted=plural in self.deaf)
        self._streams.add(stream)
        try:
            async for chunk in answer.content.iter_any():
                if not stream.muted:
                    await response.write(chunk)
            if stream.muted:
                await asyncio.sleep(3600)
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._streams.discard(stream)
        with suppress(ConnectionError):
            await response.write_eof()
        return response
