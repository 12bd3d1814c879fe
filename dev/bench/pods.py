"""Answers as pods would: KWOK's pods have no containers, so what the operator asks is answered here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from typing_extensions import override

_COMPLETION: Final = (
    b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"job",'
    b'"choices":[{"index":0,"text":" there","finish_reason":"length"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A training pod without progress: updates of progress are no part of what is measured."""
        self._answer(404, b"{}")

    def do_POST(self) -> None:
        """A server that completes a token."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(200, _COMPLETION)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a hundred servers become available at once


@contextmanager
def answering_pods() -> Iterator[int]:
    """Answer on a free port of the loopback address while the block runs; yields the port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
