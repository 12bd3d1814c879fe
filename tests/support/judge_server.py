"""A local server that speaks as much of OpenAI's API as a judge's client needs, and plays its faults.

Bodies of errors are those that OpenAI and vLLM send.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.http_server import serving

MODEL = "judge-1"
KEY = "sk-good-key-for-tests"


@dataclass
class Reply:
    """What is answered to one request."""

    status: int = 200
    body: Any = None
    """JSON; text is sent as it is, as HTML."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class JudgeServer:
    """Replies in order, the last for ever, and what was asked."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    silent: bool = False
    """Takes requests and never answers."""
    release: threading.Event = field(default_factory=threading.Event)


def says(text: str | None) -> Reply:
    """A completion."""
    message = {"role": "assistant", "content": text}
    return Reply(
        body={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


def fails(status: int, message: str = "", headers: dict[str, str] | None = None, **error: Any) -> Reply:
    """An error."""
    return Reply(status, {"error": {"message": message, **error}}, headers or {})


@contextmanager
def judge_server(replies: Sequence[Reply] = (), *, silent: bool = False) -> Iterator[JudgeServer]:
    """Run a server on a free port."""
    state = JudgeServer(replies=list(replies), silent=silent)

    class Handler(_Handler):
        judge = state

    with serving(Handler) as root:
        state.url = f"{root}/v1"
        try:
            yield state
        finally:
            state.release.set()


class _Handler(BaseHTTPRequestHandler):
    judge: JudgeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.judge.requests.append(json.loads(content))
        self.judge.keys.append(str(self.headers.get("Authorization")))
        if self.judge.silent:
            self.judge.release.wait()
            self.close_connection = True
            return
        replies = self.judge.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if self.path != "/v1/chat/completions":
            reply = Reply(404, {"detail": "Not Found"})
        is_text = isinstance(reply.body, str)
        body = reply.body.encode() if is_text else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "text/html" if is_text else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
