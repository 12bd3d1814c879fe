"""Bounds what reading may take: a small file can hold more than any memory, and its own sizes can lie."""

from __future__ import annotations

import mmap
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

READING: Final = 2 * 1024**3
"""Bytes that decoding a part of a file may take, beside what the process has already."""


@contextmanager
def bounded_memory(more: int = READING) -> Iterator[None]:
    """Let this process take ``more`` bytes at most; the kernel refuses what goes beyond.

    Raises:
        MemoryError: more was asked for. pyarrow's own is one too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    others = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    limit = min(_held() + more, *others, 2**63 - 1)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held() -> int:
    """What the kernel counts of this process; asked for before each rendering, so it has to be quick."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(256).split()[5]) * mmap.PAGESIZE
