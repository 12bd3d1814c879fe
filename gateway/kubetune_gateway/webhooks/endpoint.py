"""Who is told when a job has ended. The platform names them, and no client. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

EventType = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]

SUCCEEDED: Final = "fine_tuning.job.succeeded"
FAILED: Final = "fine_tuning.job.failed"
CANCELLED: Final = "fine_tuning.job.cancelled"
ALL: Final[frozenset[EventType]] = frozenset({SUCCEEDED, FAILED, CANCELLED})

PREFIX: Final = "whsec_"
"""Of a secret whose rest is base64, as OpenAI gives them; another is taken by its letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One receiver of the jobs of one namespace."""

    namespace: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    """Each signs, so that a receiver may have either while they are exchanged."""
    events: frozenset[EventType] = ALL

    @property
    def digest(self) -> str:
        """Stands for the URL in keys."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]


def checked(endpoint: Endpoint, *, allow_http: bool = False) -> Endpoint:
    """Return it, if webhooks can be sent there. Raises ValueError with what to change."""
    url = urlsplit(endpoint.url)
    if url.scheme not in ("https", "http") or not url.hostname:
        raise ValueError(f"{endpoint.url} is no URL of a web server.")
    if url.scheme == "http" and not allow_http:
        raise ValueError(f"{endpoint.url} is not encrypted: use https, or allow http.")
    if not endpoint.secrets:
        raise ValueError(f"{endpoint.url} has no secret: nobody could tell who sends.")
    for secret in endpoint.secrets:
        try:
            usable = bool(key(secret))
        except binascii.Error:
            usable = False
        if not usable:
            raise ValueError(f"A secret of {endpoint.url} is not base64 behind {PREFIX}, or empty.")
    return endpoint


def key(secret: str) -> bytes:
    """The bytes that sign. Raises binascii.Error."""
    if secret.startswith(PREFIX):
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return secret.encode()
