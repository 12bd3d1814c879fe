"""A file that is hashed while it is written: the digest is of what was meant, and nothing is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_WORTH_A_THREAD = 1 << 20
"""Bytes of a write that are hashed beside it: both let other Python threads run meanwhile."""


class HashingFile:
    """What ``torch.save`` needs of a file: it only ever appends."""

    def __init__(self, file: IO[bytes], hasher: ThreadPoolExecutor) -> None:
        self._file = file
        self._hasher = hasher
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Append all of the data, which may change as soon as this returns."""
        if memoryview(data).nbytes < _WORTH_A_THREAD:
            self._sha256.update(data)
            return self._file.write(data)
        hashed = self._hasher.submit(self._sha256.update, data)
        try:
            return self._file.write(data)
        finally:
            hashed.result()

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    @property
    def sha256(self) -> str:
        """Of all that was written, in hex digits."""
        return self._sha256.hexdigest()


@contextmanager
def hashing(path: Path) -> Iterator[HashingFile]:
    """Write a new file."""
    with path.open("wb") as file, ThreadPoolExecutor(1, thread_name_prefix="sha256") as hasher:
        yield HashingFile(file, hasher)
