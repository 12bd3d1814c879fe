"""Reads the API server's audit log, which is the clock of all measurements: neutral, and there anyway."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

WRITES: Final = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that was answered."""

    user: str
    agent: str
    verb: str
    resource: str
    """With its subresource: ``pods/status``."""
    namespace: str
    name: str
    """Empty where the server makes the name (generateName)."""
    uri: str
    code: int
    received: float
    answered: float

    @property
    def is_write(self) -> bool:
        """Whether it changed something."""
        return self.verb in WRITES and 200 <= self.code < 300


def read(log: Path, *, start: int = 0) -> Iterator[Request]:
    """Yield the requests of a log, from an offset on."""
    with log.open("rb") as source:
        source.seek(start)
        for line in source:
            if line.endswith(b"\n"):  # the last one may be half written
                yield _parse(json.loads(line))


def count(requests: Iterable[Request]) -> dict[str, int]:
    """Count requests by verb and resource, the most frequent first."""
    found = Counter(f"{request.verb} {request.resource}" for request in requests)
    return dict(found.most_common())


def _parse(entry: dict[str, Any]) -> Request:
    target = entry.get("objectRef") or {}
    resource, sub = target.get("resource", ""), target.get("subresource")
    return Request(
        user=entry["user"]["username"],
        agent=entry.get("userAgent", ""),
        verb=entry["verb"],
        resource=f"{resource}/{sub}" if sub else resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        uri=entry["requestURI"],
        code=(entry.get("responseStatus") or {}).get("code", 0),
        received=_seconds(entry["requestReceivedTimestamp"]),
        answered=_seconds(entry["stageTimestamp"]),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
