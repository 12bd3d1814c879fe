"""Waits for something to become true, with a deadline and an error that says what was waited for."""

import time
from collections.abc import Callable

from dev.errors import DevError


class NotReadyError(DevError):
    """Something did not become ready in time."""


def wait_for(what: str, ready: Callable[[], bool], *, seconds: float, every: float = 0.1) -> None:
    """Return as soon as `ready` is true; raise `NotReadyError` when it takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise NotReadyError(f"waited {seconds:.0f} s for {what}")
        time.sleep(every)
