"""The limits around an ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from ..telemetry import Telemetry
from ..wire.errors import ApiError
from .exchange import Exchange, Receive, Send, busy
from .kinds import Kind, Limits, kind_of
from .rates import Rates

Scope = Mapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


class Limited:
    """An application within limits. What is refused is answered in the envelope, and counted."""

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        usual = limits.requests_per_minute, limits.burst
        chat = limits.chat_requests_per_minute, limits.chat_burst
        self._rates = {kind: Rates(*(chat if kind is Kind.CHAT else usual)) for kind in Kind}
        self._slots = asyncio.Semaphore(limits.uploads)
        self._under_way = 0
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held = 0

        def hold(size: int) -> bool:
            nonlocal held
            held += size
            self._held += size
            return self._held <= self._limits.held_bytes

        exchange = Exchange(
            receive,
            send,
            kind=kind_of(scope["method"], scope["path"]),
            limits=self._limits,
            headers=scope["headers"],
            hold=hold,
            count=self._count,
            slots=self._slots,
        )
        self._under_way += 1
        try:
            await self._within(scope, exchange)
        except ApiError as error:
            await exchange.refuse(error)
        finally:
            self._under_way -= 1
            self._held -= held
        await exchange.close()

    async def _within(self, scope: Scope, exchange: Exchange) -> None:
        left = self._rates[exchange.kind].take(_caller(scope), self._clock())
        exchange.headers = left.headers()
        if left.wait:
            self._count("rate")
            raise ApiError(
                f"You may send {left.limit} requests of this kind per minute here; send them more slowly.",
                status=HTTPStatus.TOO_MANY_REQUESTS,
                code="rate_limit_exceeded",
                retry_after=math.ceil(left.wait),
            )
        if self._under_way > self._limits.under_way:
            self._count("under_way")
            raise busy("Too many requests are under way here")

        async def app(receive: Receive, send: Send) -> None:
            await self._app(scope, receive, send)

        await exchange.run(app)

    def _count(self, limit: str) -> None:
        self._telemetry.refused.labels(limit).inc()


def _caller(scope: Scope) -> object:
    """Who asks, as far as can be told before anybody was asked who that is."""
    headers = dict(scope["headers"])
    token = headers.get(b"authorization") or headers.get(b"api-key")
    if token:
        return hashlib.sha256(token).digest()
    client = scope.get("client")
    return client[0] if client else None
