"""API keys: each stands for a service account. Of a key only its SHA-256 is kept, and what it stands for.

Whoever can write to the folder of keys can act as any service account: only the gateway may.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..store.bucket import Bucket
from ..store.places import Places
from ..wire.errors import ApiError
from .credentials import is_account_name, is_label

PREFIX: Final = "sk-kt-"
RANDOM_BYTES: Final = 25
"""200 bits, which are 40 letters: nobody guesses one, so a plain digest is enough."""

HINT: Final = 4
MOST_DAYS: Final = 3650

_KEY: Final = re.compile(rf"{PREFIX}[a-z2-7]{{40}}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME_LENGTH: Final = 100


class ApiKey(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    service_account: str
    name: str = ""
    """What people call it."""
    created_at: int
    expires_at: int | None = None
    hint: str = Field(max_length=HINT)
    """Its last letters, by which people know it."""

    def has_expired(self, now: datetime) -> bool:
        """Whether it is worth nothing any more."""
        return self.expires_at is not None and now.timestamp() >= self.expires_at


class KeyStore:
    """Keys of all namespaces, in the bucket."""

    def __init__(self, bucket: Bucket, places: Places) -> None:
        self._bucket = bucket
        self._places = places

    async def create(
        self,
        *,
        namespace: str,
        service_account: str,
        name: str = "",
        days: int | None = None,
        now: datetime,
        random: bytes,
    ) -> str:
        """Make a key of 25 bytes that nobody can guess, and return it: it is told once."""
        if not is_label(namespace):
            raise ApiError(f"{namespace!r} is no namespace.", param="namespace")
        if not is_account_name(service_account):
            raise ApiError(f"{service_account!r} is no service account.", param="service-account")
        if len(name) > _NAME_LENGTH or not name.isprintable():
            raise ApiError(f"A name is one line of at most {_NAME_LENGTH} characters.", param="name")
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise ApiError(f"A key lives from 1 to {MOST_DAYS} days, or until it is revoked.", param="days")
        key = PREFIX + base64.b32encode(random).decode().lower()
        if not is_key(key):
            raise ValueError("a key is made of 25 bytes")
        expires = None if days is None else int((now + timedelta(days=days)).timestamp())
        kept = ApiKey(
            namespace=namespace,
            service_account=service_account,
            name=name,
            created_at=int(now.timestamp()),
            expires_at=expires,
            hint=key[-HINT:],
        )
        body = kept.model_dump_json(exclude_none=True).encode()
        await self._bucket.put(self._places.key(digest(key)), body)
        return key

    async def find(self, key: str) -> ApiKey | None:
        """What a key stands for; None where it is not known (any more)."""
        return await self._read(self._places.key(digest(key)))

    async def list(self, namespace: str | None = None) -> list[tuple[str, ApiKey]]:
        """Digests and what they stand for, of a namespace or of all, the newest last."""
        folder = self._places.keys()
        found = []
        async for path in self._bucket.keys(folder):
            name = path.removeprefix(folder).removesuffix(".json")
            kept = await self._read(path) if _DIGEST.fullmatch(name) else None
            if kept and namespace in (None, kept.namespace):
                found.append((name, kept))
        return sorted(found, key=lambda pair: (pair[1].created_at, pair[0]))

    async def revoke(self, which: str, *, namespace: str) -> ApiKey:
        """End the one key of a namespace with this hint, or with a digest that begins so; return it.

        Raises ApiError unless there is one.
        """
        known = await self.list(namespace)
        found = [(name, kept) for name, kept in known if which and _is(which, name, kept)]
        if len(found) != 1:
            raise ApiError(_which(which, namespace, [name for name, _ in found]), param="key")
        [(name, kept)] = found
        await self._bucket.delete(self._places.key(name))
        return kept

    async def _read(self, path: str) -> ApiKey | None:
        body = await self._bucket.get(path)
        try:
            kept = None if body is None else ApiKey.model_validate_json(body)
        except ValidationError:
            return None
        valid = kept and is_label(kept.namespace) and is_account_name(kept.service_account)
        return kept if valid else None


def is_key(text: str) -> bool:
    """Whether it can be one."""
    return _KEY.fullmatch(text) is not None


def digest(key: str) -> str:
    """Under which a key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


def _is(which: str, name: str, kept: ApiKey) -> bool:
    return which == kept.hint or name.startswith(which)


def _which(which: str, namespace: str, found: Sequence[str]) -> str:
    if not found:
        return f"No key of the namespace {namespace} ends in {which!r} or has a digest that begins so."
    digests = "\n".join(found)
    return f"{which!r} means several keys; say which, by the beginning of its digest:\n{digests}"
