"""What the guard needs of ASGI: bodies read and passed on, and errors in OpenAI's shape."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class RefusedError(Exception):
    """A request that does not reach vLLM, and the answer to it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.error = {"message": message, "type": kind, "param": param, "code": code}


class DisconnectedError(Exception):
    """The client went away before it had sent its request."""


async def read(receive: Receive, *, limit: int) -> bytes:
    """Return the whole body, of at most ``limit`` bytes.

    Raises RefusedError (413) for a larger one, and DisconnectedError.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        body += message.get("body", b"")
        if len(body) > limit:
            text = f"The body has more than {limit} bytes, which is all that this server takes; send less."
            raise RefusedError(413, text, code="request_too_large")
        if not message.get("more_body", False):
            return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Give the body again, and then what comes after it: the disconnect that ends a generation."""
    pending = [body]

    async def again() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return again


async def answer(
    send: Send, status: int, content: object, *, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Answer with JSON."""
    body = json.dumps(content).encode()
    own = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refused: RefusedError) -> None:
    """Answer with an error in OpenAI's shape."""
    await answer(send, refused.status, {"error": refused.error}, headers=refused.headers)
