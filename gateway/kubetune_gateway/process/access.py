"""One line of the log for each request: who asked for what, and how it ended. No query, header or body."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


class AccessLog:
    """An ASGI application whose requests are logged when their answer has ended."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, sent = time.monotonic(), 0, 0
        state: dict[str, Any] = scope.setdefault("state", {})

        async def seen(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            caller = state.get("caller")
            logger.info(
                "Answered" if status else "Not answered",
                extra={
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "seconds": round(time.monotonic() - began, 3),
                    "bytes": sent,
                    "user": caller.user if caller else "",
                    "namespace": caller.namespace if caller else "",
                },
            )
