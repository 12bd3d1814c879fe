"""The port that clients reach: uvicorn, which answers to the end what it has begun when it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from typing_extensions import override

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_KEEP_ALIVE: Final = 75
"""Seconds; longer than the minute for which load balancers keep connections, so that these close them."""


class Server(uvicorn.Server):
    """Takes the process's signals, and returns from ``serve`` after one; uvicorn would end the process."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take them within the block."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


def server(app: Any, *, port: int, drain_seconds: int) -> Server:
    """Return the server of an application."""
    return Server(
        uvicorn.Config(
            app,
            host="",  # all addresses, IPv6 too
            port=port,
            loop="none",  # it runs in one
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=drain_seconds,
        )
    )
