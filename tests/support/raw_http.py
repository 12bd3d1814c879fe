"""HTTP by hand: what no client does by itself, such as half a body."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """What the envelope holds."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection on which bytes are sent as they are."""

    socket: socket.socket

    def send(self, data: bytes) -> None:
        """Send more."""
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """Wait for the answer."""
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def is_closed(self) -> bool:
        """Wait for the other side to end it, whatever it still sends."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Connect to where a URL points."""
    found = urlsplit(url)
    assert found.hostname
    with socket.create_connection((found.hostname, found.port or 80), timeout=60) as made:
        yield Connection(made)


def head(
    method: str, path: str, *, token: str = "token-of-team-a", length: int | None = None, **more: str
) -> bytes:
    """A request's head; without a length its body is in chunks."""
    fields = {
        "host": "gateway",
        "authorization": f"Bearer {token}",
        **({"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a body that is sent in such; an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)
