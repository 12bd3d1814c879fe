"""The guard itself: ``--middleware kubetune_guard.middleware.Guard``.

It lets in who shows one of ``keys``, lets through what ``routes`` lists, checks bodies by ``fields``, holds
what ``admission`` has room for, and passes everything else on as it comes: streams are not buffered, and a
client that goes away is seen by vLLM.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from .admission import Admission
from .asgi import App, DisconnectedError, Receive, RefusedError, Scope, Send, answer, read, refuse, replay
from .canary import Served, prove
from .fields import check, parse, sequences
from .keys import Keys
from .routes import OWN, STARTED, is_question, needs_key

LIMIT_ENV: Final = "KUBETUNE_SERVING_LIMIT"
"""Sequences that the server holds at once, running and waiting; the operator sets it."""

BODY_LIMIT: Final = 8 * 2**20
"""Bytes: a prompt of a million tokens as text."""

BODY_SECONDS: Final = 60.0
"""Who sends its body more slowly than this holds a place for nothing."""


class Guard:
    """ASGI middleware around vLLM's application."""

    def __init__(
        self,
        app: App,
        *,
        limit: int | None = None,
        body_seconds: float = BODY_SECONDS,
        served: Served | None = None,
        keys: Keys | None = None,
    ) -> None:
        self._app = app
        self._keys = keys or Keys.from_env()
        self._served = served or Served.from_env()
        self._proof: asyncio.Task[dict[str, Any]] | None = None
        self._body_seconds = body_seconds
        self._admission = Admission(int(os.environ[LIMIT_ENV]) if limit is None else limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "no WebSockets here"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if self._keys is not None and needs_key(scope):
                self._keys.check(scope)
            if is_question(scope):
                await self._ask(scope, receive, send)
            elif scope["path"] in OWN and scope["method"] == "GET":
                await self._tell(scope, send)
            else:
                await self._app(scope, receive, send)
        except RefusedError as refused:
            await refuse(send, refused)
        except DisconnectedError:
            return

    async def _tell(self, scope: Scope, send: Send) -> None:
        """Say what the canary found; it begins with the first question about it, when vLLM has loaded."""
        if self._proof is None:
            self._proof = asyncio.create_task(prove(self._app, scope, self._served))
        if not self._proof.done():
            raise RefusedError(503, "The server is being asked what training wrote down; ask again.")
        if silence := self._proof.exception():
            self._proof = None  # asked anew
            raise RefusedError(503, f"The server does not answer yet: {silence}")
        verdict = self._proof.result()
        if scope["path"] == STARTED and verdict["verdict"] == "Mismatch":
            raise RefusedError(503, verdict["message"])
        keyless = self._keys is not None and not self._keys.are_there
        if scope["path"] == STARTED and keyless:
            raise RefusedError(503, "The server asks for a key and has none to accept.")
        await answer(send, 200, {**verdict, "keyless": keyless})

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._admission.place() as place:  # before the body is read: bodies take memory, too
            try:
                async with asyncio.timeout(self._body_seconds):
                    body = await read(receive, limit=BODY_LIMIT)
            except TimeoutError:
                text = f"The body did not come within {self._body_seconds:.0f} s; send it faster."
                raise RefusedError(408, text, code="request_timeout") from None
            asked = parse(body)
            check(asked)
            place.grow(sequences(asked))
            await self._app(scope, replay(body, receive), send)
