"""Waits for what a benchmark has started."""

from __future__ import annotations

import subprocess
import time
from typing import Final

import httpx

from dev.errors import DevError

_SECONDS: Final = 60.0


def until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when a process answers this with success. Raises DevError when it ends, or after a minute."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise DevError(f"{process.args!r} does not answer at {url}")
