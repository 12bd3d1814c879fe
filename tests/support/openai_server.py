"""A server that speaks as much of OpenAI's API as the evaluator asks for, and fails as servers do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dev.cluster.ports import free_ports

Body = dict[str, Any]
Failure = tuple[int, str, dict[str, str]]
"""Status, message and headers."""


class HangError(Exception):
    """The request is never answered."""


@dataclass
class OpenAI:
    """The server; its fields may be changed while it runs."""

    answers: Callable[[Body], str]
    digest: str = "sha256:1"
    verdict: str = "Same"
    fails: Callable[[int, Body], Failure | None] = lambda number, body: None
    """Of the requests' numbers, from 1: what is answered instead; may raise HangError."""
    seconds: float = 0.0
    """How long an answer takes."""
    keys: frozenset[str] | None = None
    """Keys that it asks for, at every path but the canary's; None: it asks for none."""
    refused: int = 0
    """Questions without one of them."""
    asked: Counter[str] = field(default_factory=Counter)
    """Bodies that came, as JSON."""
    answered: Counter[str] = field(default_factory=Counter)
    """Bodies that were answered well, as JSON."""
    under_way: int = 0
    """Requests that have come and are not answered."""
    port: int = field(default_factory=lambda: free_ports(1)[0])
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _runner: web.AppRunner | None = None
    _number: int = 0

    @property
    def url(self) -> str:
        """Base URL, as clients of OpenAI take it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen."""
        self._run(self._start())

    def stop(self) -> None:
        """Refuse connections, and drop those that are open."""
        self._run(self._stop())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/kubetune/canary", self._canary)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _canary(self, request: web.Request) -> web.Response:
        told = {"verdict": self.verdict, "message": f"It is {self.verdict}.", "digest": self.digest}
        return web.json_response(told)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """As the guard in front of a server refuses who shows no key."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if self.keys is None or (scheme == "Bearer" and key in self.keys):
            return None
        self.refused += 1
        error = {"message": "This server does not know this key.", "code": "invalid_api_key"}
        return web.json_response({"error": error}, status=401)

    async def _chat(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        body = await request.json()
        message = {"role": "assistant", "content": None}
        return await self._respond(body, lambda text: {"message": {**message, "content": text}})

    async def _completions(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        return refusal or await self._respond(await request.json(), lambda text: {"text": text})

    async def _respond(self, body: Body, choice: Callable[[str], Body]) -> web.Response:
        self._number += 1
        self.under_way += 1
        key = json.dumps(body, sort_keys=True)
        self.asked[key] += 1
        try:
            try:
                failure = self.fails(self._number, body)
            except HangError:
                await asyncio.Event().wait()
            if failure is not None:
                status, text, headers = failure
                return web.json_response({"error": {"message": text}}, status=status, headers=headers)
            await asyncio.sleep(self.seconds)
            text = self.answers(body)
            self.answered[key] += 1
        finally:
            self.under_way -= 1
        prompt = json.dumps(body.get("messages") or body.get("prompt"))
        usage = {
            "prompt_tokens": len(prompt.split()),
            "completion_tokens": len(text.split()),
            "total_tokens": len(prompt.split()) + len(text.split()),
        }
        finish = "length" if len(text.split()) >= body.get("max_tokens", 1000) else "stop"
        return web.json_response(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": finish, **choice(text)}],
                "usage": usage,
            }
        )

    def serve(self) -> None:
        """Run the loop until it is ended, in a thread of its own."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def end(self) -> None:
        """Stop, and end the loop."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextmanager
def openai_server(answers: Callable[[Body], str]) -> Iterator[OpenAI]:
    """Serve for as long as a block lasts."""
    server = OpenAI(answers)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    server.start()
    try:
        yield server
    finally:
        server.end()
        thread.join(30)
        server._loop.close()
