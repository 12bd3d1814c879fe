"""The lines of a stream, changed on their way: the model has the name that the client asks for. Pure.

Lines are bytes and stay so. Within a text JSON escapes quotes, and what a model writes is within texts: so
``"model":`` with both its quotes bare is a key, and the first of a line is the piece's own.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_MODEL: Final = re.compile(rb'(?<!\\)"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_NO_CHOICES: Final = re.compile(rb'(?<!\\)"choices"\s*:\s*\[\s*\]')
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


class Events:
    """One stream.

    ``tells_usage`` passes the piece on that has the usage, which clients get only when they ask for it;
    ``keeps`` collects all pieces.
    """

    def __init__(self, model: str, *, tells_usage: bool, keeps: bool = False) -> None:
        self._named = b'"model":' + json.dumps(model).encode()
        self._tells_usage = tells_usage
        self._keeps = keeps
        self._begun = b""
        self._drops_next = False
        self.usage: dict[str, Any] = {}
        """What the whole stream used, once that was told."""
        self.is_done = False
        """Whether the stream has come to its end, and was not broken off."""
        self.pieces: list[dict[str, Any]] = []
        """What was collected."""

    def feed(self, some: bytes) -> bytes:
        """Take what has come, however it is split, and return the lines that are whole now."""
        *lines, self._begun = (self._begun + some).split(b"\n")
        return b"".join(line + b"\n" for line in map(self._line, lines) if line is not None)

    def _line(self, line: bytes) -> bytes | None:
        if not line.startswith(_DATA):
            dropped, self._drops_next = self._drops_next and not line.strip(), False
            return None if dropped else line
        if self._ends(line):
            return line
        line = _MODEL.sub(lambda _: self._named, line, count=1)
        is_usage = _NO_CHOICES.search(line) is not None and self._counts(line)
        if self._keeps:
            self.pieces.append(_parsed(line))
        self._drops_next = is_usage and not self._tells_usage
        return None if self._drops_next else line

    def _ends(self, line: bytes) -> bool:
        self.is_done = self.is_done or line[len(_DATA) :].strip() == _DONE
        return self.is_done

    def _counts(self, line: bytes) -> bool:
        usage = _parsed(line).get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        return isinstance(usage, dict)


def _parsed(line: bytes) -> dict[str, Any]:
    """A piece; one that is no JSON is empty."""
    try:
        found = json.loads(line[len(_DATA) :])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
