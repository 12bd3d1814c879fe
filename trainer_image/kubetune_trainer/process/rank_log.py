"""What a rank prints on stderr: passed on to the pod's log, and its end kept for the case that nothing else
tells why the rank ended, as when a library aborts the process.
"""

from __future__ import annotations

import contextlib
import os
import threading

_KEPT_BYTES = 16_384
"""Enough for a stack trace of C++ and the lines before it."""

_LAST_BYTES_SECONDS = 2.0
"""How long to wait for what an ended rank has printed; only a child of its own could keep the pipe open."""


class RankLog:
    """The stderr of one rank; ``writer`` is the descriptor that the rank gets."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        self._kept = b""
        self._thread = threading.Thread(target=self._pass_on, name="rank-log", daemon=True)
        self._thread.start()

    def started(self) -> None:
        """The rank has its descriptor; without ours, reading ends when the rank does."""
        os.close(self.writer)

    def end(self) -> str:
        """The last that an ended rank has printed."""
        self._thread.join(_LAST_BYTES_SECONDS)
        return self._kept.decode(errors="replace")

    def _pass_on(self) -> None:
        while data := os.read(self._reader, 65_536):
            self._kept = (self._kept + data)[-_KEPT_BYTES:]
            with contextlib.suppress(OSError):  # without a log, the rank must still be able to print
                while data:
                    data = data[os.write(2, data) :]
        os.close(self._reader)
