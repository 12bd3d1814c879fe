"""A job's server as clients of OpenAI's API see it: whole answers, streams, and how both go wrong."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dev.cluster.ports import free_ports

Body = dict[str, Any]

ANSWER = ("Say ", '"model":"other" and ', "größer\n")
"""What it answers, in the pieces of a stream."""


@dataclass(slots=True)
class ModelServer:
    """The server; its fields may be changed while it runs."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    asked: list[Body] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    refuses: web.Response | None = None
    """What it answers instead, once."""
    waits_after: int | None = None
    """Pieces of a stream after which nothing more comes."""
    breaks_after: int | None = None
    """Pieces of a stream after which the connection is cut."""
    peers: set[object] = field(default_factory=set)
    """Connections that questions came by."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set once a client went away before it had its answer."""

    @property
    def url(self) -> str:
        """Base URL, as in status.serving.url."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer as vLLM does."""
        body = await request.json()
        self.asked.append(body)
        self.headers.append(request.headers)
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        refuses, self.refuses = self.refuses, None
        if refuses is not None:
            return refuses
        try:
            if body.get("stream"):
                return await self._stream(request, body)
            if self.waits_after is not None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        return web.json_response(_whole(body))

    async def _stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        answer = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Server": "v"}
        )
        await answer.prepare(request)
        for number, piece in enumerate([*_pieces(body), "[DONE]"]):
            if number == self.breaks_after:
                request.transport.close()
            if number == self.waits_after:
                await asyncio.Event().wait()
            text = piece if isinstance(piece, str) else json.dumps(piece, ensure_ascii=False)
            await answer.write(f"data: {text}\n\n".encode())
        return answer


def _whole(body: Body) -> Body:
    message: Body = {"role": "assistant", "content": "".join(ANSWER)}
    if "tools" in body:
        message |= {"content": None, "tool_calls": [_call(body)]}
    choices = [{"index": n, "message": message, "finish_reason": "stop"} for n in range(body.get("n") or 1)]
    if "prompt" in body:
        choices = [{"index": 0, "text": "".join(ANSWER), "finish_reason": "stop", "logprobs": None}]
    kind = "text_completion" if "prompt" in body else "chat.completion"
    return {**_head(body, kind), "choices": choices, "usage": _usage()}


def _pieces(body: Body) -> Iterator[Body]:
    head = _head(body, "chat.completion.chunk")
    deltas: list[Body] = [{"role": "assistant", "content": ""}, *({"content": some} for some in ANSWER)]
    if "tools" in body:
        deltas = [{"role": "assistant"}, {"tool_calls": [{"index": 0, **_call(body)}]}]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage()}


def _head(body: Body, kind: str) -> Body:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": 1, "model": body["model"]}


def _usage() -> Body:
    return {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def _call(body: Body) -> Body:
    function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"model":"small"}'}
    return {"id": "call-1", "type": "function", "function": function}


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run one while the block runs."""
    server, loop, stop = ModelServer(), asyncio.new_event_loop(), asyncio.Event()
    started = threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", server.chat)
        app.router.add_post("/v1/completions", server.chat)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", server.port).start()
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
