"""HTTP endpoints of the operator itself: /healthz, /readyz and /metrics, served by the loop that works.

A loop that is blocked does not answer, which is the point. Only what /metrics says is written by a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from .metrics.own import Metrics

QUEUE_AGE_LIMIT: Final = 600.0
"""A key that waits or works for this long: the workers hang."""

Check = Callable[[], str | None]
"""None when all is well, else what is wrong."""


@asynccontextmanager
async def serve_health(port: int, *, healthy: Check, ready: Check) -> AsyncIterator[None]:
    """Serve /healthz and /readyz while the block runs."""

    def answer(check: Check) -> Callable[[web.Request], object]:
        async def handle(_request: web.Request) -> web.Response:
            problem = check()
            return web.Response(status=503 if problem else 200, text=problem or "ok")

        return handle

    app = web.Application()
    app.router.add_get("/healthz", answer(healthy))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(ready))  # type: ignore[arg-type]
    async with _serve(app, port):
        yield


@asynccontextmanager
async def serve_metrics(port: int, metrics: Metrics, *, refresh: Callable[[], None]) -> AsyncIterator[None]:
    """Serve /metrics while the block runs; ``refresh`` sets gauges before each scrape."""

    async def handle(request: web.Request) -> web.Response:
        refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Of thousands of jobs that takes so long that watches and probes would wait for it.
        body = await asyncio.to_thread(encode, metrics.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/metrics", handle)
    async with _serve(app, port):
        lag = asyncio.create_task(_watch_lag(metrics))
        try:
            yield
        finally:
            lag.cancel()


@asynccontextmanager
async def _serve(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


async def _watch_lag(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(1)
        metrics.loop_lag.set(max(0.0, loop.time() - before - 1))
