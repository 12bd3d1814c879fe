"""Converts refusals and failures of the API server, once, into the errors of ``vocabulary.errors``.

The code alone does not tell what a refusal means: a policy or a webhook denies with any code that its author
chose, 404, 409, 422 and 503 among them, and an object that cannot be applied is a 500. The API server's own
words around theirs do; they are the same since Kubernetes 1.26.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from typing_extensions import override

from ...vocabulary.errors import (
    Conflict,
    Invalid,
    KubeError,
    KubeTuneError,
    MissingPermission,
    NotFound,
    Rejected,
    TransientError,
    WebhookFailed,
)
from ...vocabulary.strangers import plain

_TRANSIENT = frozenset({401, 408, 410, 429})
"""401: the token is about to be renewed. 410: a list's continuation has expired."""

_LONGEST_WISH: Final = 600.0
"""Seconds: a proxy that says more is not taken at its word."""

_DENIED: Final = re.compile(
    r"""admission webhook ".+?" denied the request|ValidatingAdmissionPolicy '.+?' .*denied request"""
)
_NOT_ANSWERED: Final = re.compile(r'failed calling webhook ".+?"')
_NO_RIGHT: Final = re.compile(r'User ".+?" cannot \w+ |cannot set blockOwnerDeletion')
_UNREADABLE: Final = re.compile(
    r"in version \S+ cannot be handled as a |failed to create typed patch object|failed to convert new object"
)
"""What does not even have the types of its kind: 400 for a creation, 500 for an apply."""


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
    message = plain(_message(body))
    kind = _kind(status, message, body)
    if issubclass(kind, TransientError):
        return kind(f"{target}: {status} {message}", retry_after=_retry_after(headers, body))
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
    return TransientError(plain(f"{target}: {type(error).__name__} {error}"))


def _kind(status: int, message: str, body: bytes) -> type[KubeError] | type[TransientError]:
    """What a refusal means: who denied comes before the code, which whoever denies may choose."""
    if _DENIED.search(message):
        return Rejected
    if _UNREADABLE.search(message):
        return Invalid
    if status >= 500 and _NOT_ANSWERED.search(message):
        return WebhookFailed
    if status in _TRANSIENT or status >= 500:
        return TransientError
    if status == 403 and _NO_RIGHT.search(message):
        return MissingPermission
    if status == 422 and _names_fields(body):
        return Invalid
    return {404: NotFound, 409: Conflict}.get(status, Rejected)


def _names_fields(body: bytes) -> bool:
    """Whether a refusal names the fields that are wrong, as the API server's own validation does."""
    details = _status(body).get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return isinstance(causes, list) and any(isinstance(c, dict) and c.get("field") for c in causes)


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
    text = headers.get("Retry-After") or _wish(body)
    try:
        return None if text is None else min(max(0.0, float(text)), _LONGEST_WISH)
    except (TypeError, ValueError):
        return None  # an HTTP date, which no API server sends


def _wish(body: bytes) -> Any:
    details = _status(body).get("details")
    return details.get("retryAfterSeconds") if isinstance(details, dict) else None
