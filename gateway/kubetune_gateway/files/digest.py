"""What is counted of a file's bytes while they go by. Pure."""

from __future__ import annotations

import hashlib


class Tally:
    """Bytes, digest and lines of what was seen."""

    def __init__(self) -> None:
        self.bytes = 0
        self.lines = 0
        self._sha256 = hashlib.sha256()
        self._is_blank = True

    def add(self, chunk: bytes) -> None:
        """See more of it."""
        self.bytes += len(chunk)
        self._sha256.update(chunk)
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            self.lines += not (self._is_blank and not line.strip())
            self._is_blank = True
        self._is_blank = self._is_blank and not rest.strip()

    @property
    def examples(self) -> int:
        """Lines that are not blank, the last one too, which may have no end."""
        return self.lines + (not self._is_blank)

    @property
    def sha256(self) -> str:
        """Digest of all that was seen, in hex."""
        return self._sha256.hexdigest()
