"""A server that streams an answer token by token, and a client that measures how they arrive.

``python -m dev.bench.streaming PORT`` is the server: it writes as vLLM does, at the pace of a GPU.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp import web

STREAMS: Final = 32
TOKENS: Final = 30
_BETWEEN: Final = 0.02
"""Seconds between two tokens."""
_PROMPT: Final = 0.05
"""Seconds before the first."""
_USUAL: Final = _PROMPT + TOKENS * _BETWEEN
"""Seconds of an answer."""
_EVENT: Final = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One answer, in seconds since it was asked for."""

    first: float
    whole: float


async def ask(url: str, *, model: str, rounds: int) -> list[Arrival]:
    """Ask so many times on each of the streams, which go on beside each other and begin one after another."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "What is wrong with this ticket?"}],
        "stream": True,
        "max_tokens": TOKENS,
    }
    connector = aiohttp.TCPConnector(limit=STREAMS)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:

        async def stream(number: int) -> list[Arrival]:
            await asyncio.sleep(number / STREAMS * _USUAL)
            return [await _ask(session, f"{url}/chat/completions", asked) for _ in range(rounds)]

        found = await asyncio.gather(*map(stream, range(STREAMS)))
    return [arrival for each in found for arrival in each]


async def _ask(session: aiohttp.ClientSession, url: str, asked: dict[str, Any]) -> Arrival:
    start = time.perf_counter()
    async with session.post(url, json=asked) as answer:
        answer.raise_for_status()
        pieces = answer.content.iter_any()
        text = await anext(pieces)
        first = time.perf_counter() - start
        async for piece in pieces:
            text += piece
    if text.count(b'"delta"') != TOKENS or not text.rstrip().endswith(b"[DONE]"):
        raise RuntimeError(f"{url} did not answer with {TOKENS} tokens")
    return Arrival(first=first, whole=time.perf_counter() - start)


async def _answer(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    made = web.StreamResponse(headers={"Content-Type": f"{_EVENT}; charset=utf-8"})
    about = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": asked["model"],
    }

    async def write(event: dict[str, Any]) -> None:
        await made.write(f"data: {json.dumps(about | event, separators=(',', ':'))}\n\n".encode())

    clock = asyncio.get_running_loop()
    begun = clock.time() + _PROMPT
    await asyncio.sleep(_PROMPT)
    await made.prepare(request)
    for number in range(TOKENS):
        # By the clock: a late token does not delay those after it.
        await asyncio.sleep(max(0.0, begun + number * _BETWEEN - clock.time()))
        choice = {
            "index": 0,
            "delta": {"content": f" token{number}"},
            "logprobs": None,
            "finish_reason": None,
        }
        await write({"choices": [choice]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 12, "completion_tokens": TOKENS, "total_tokens": 12 + TOKENS}
        await write({"choices": [], "usage": usage})
    await made.write(b"data: [DONE]\n\n")
    return made


def main() -> int:
    """Answer until SIGTERM."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _answer)
    app.router.add_get("/health", _healthy)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
    return 0


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    sys.exit(main())
