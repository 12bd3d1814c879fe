"""What was bought with a server's time, kept line by line as it comes: answers, and grades of judges.

Each line is a JSON object with its key, which says everything that it depends on. A process that was killed
leaves whole lines and at most a part of one, which is passed over: its question is asked again.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError

from ..store.manifest import naming

Value = TypeVar("Value", bound=BaseModel)

_SYNC_SECONDS = 5.0
"""What a node that loses its power may take along."""


class Kept(Generic[Value]):
    """The values of a file by their keys; one process at a time appends to it."""

    def __init__(self, path: Path, kind: type[Value]) -> None:
        """Read what is there.

        Raises:
            OSError: the volume failed.
        """
        self._kind = kind
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            text = path.read_bytes() if path.exists() else b""
        self._values = dict(self._read(text))
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()
        if text and not text.endswith(b"\n"):
            self._file.write(b"\n")

    def get(self, key: str) -> Value | None:
        """What was kept under the key."""
        return self._values.get(key)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def add(self, key: str, value: Value) -> None:
        """Keep one more; it is in the hands of the system when this returns.

        Raises:
            OSError: the volume is full, or failed.
        """
        waiting = json.dumps({"key": key, **value.model_dump(mode="json")}).encode() + b"\n"
        while waiting:  # a volume that fills up takes a part of it
            waiting = waiting[self._file.write(waiting) :]
        self._values[key] = value
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sync()
        finally:
            self._file.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _read(self, text: bytes) -> list[tuple[str, Value]]:
        found = []
        for line in text.splitlines():
            try:
                document = json.loads(line)
                found.append((str(document.pop("key")), self._kind.model_validate(document)))
            except (ValueError, ValidationError, LookupError, TypeError, AttributeError):
                continue
        return found
