"""Converts refusals and failures of the API server, once, into the errors of ``vocabulary.errors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from ...vocabulary.errors import Conflict, KubeTuneError, NotFound, Rejected, TransientError

_TRANSIENT = frozenset({401, 408, 410, 429})
"""401: the token is about to be renewed. 410: a list's continuation has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request was about."""

    verb: str
    kind: str
    namespace: str
    name: str

    @override
    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.namespace}/{self.name}"


def from_response(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> KubeTuneError:
    """Error of a response that is not 2xx."""
    message = _message(body)
    if status in _TRANSIENT or status >= 500:
        return TransientError(f"{target}: {status} {message}", retry_after=_retry_after(headers, body))
    kind: type[NotFound] | type[Conflict] | type[Rejected] = Rejected
    if status == 404:
        kind = NotFound
    elif status == 409:
        kind = Conflict
    return kind(
        message,
        verb=target.verb,
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        status=status,
    )


def from_failure(target: Target, error: Exception) -> TransientError:
    """Error of a request without a response: timeouts and broken connections."""
    return TransientError(f"{target}: {type(error).__name__} {error}".rstrip())


def _status(body: bytes) -> dict[str, Any]:
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _message(body: bytes) -> str:
    message = _status(body).get("message")
    return str(message) if message else body[:200].decode(errors="replace").strip()


def _retry_after(headers: Mapping[str, str], body: bytes) -> float | None:
    text = headers.get("Retry-After") or (_status(body).get("details") or {}).get("retryAfterSeconds")
    try:
        return None if text is None else max(0.0, float(text))
    except (TypeError, ValueError):
        return None  # an HTTP date, which no API server sends
