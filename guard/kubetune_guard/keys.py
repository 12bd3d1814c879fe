"""The keys that clients have to show: the values of a Secret that is mounted, as they are now."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Final

from .asgi import RefusedError, Scope

KEYS_ENV: Final = "KUBETUNE_API_KEYS"
"""Folder with a key in each file; the operator sets it where the server asks for one."""

_DATA: Final = "..data"
"""Link in that folder, which a kubelet turns to a new folder when the Secret has changed."""

_Version = tuple[int, int, int]


class Keys:
    """Every value of the Secret is a key, so that an old one and a new one are good side by side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version: _Version | None = None
        self._read: tuple[bytes, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Keys | None:
        """Keys where the operator has a Secret mounted; None: the server asks for none."""
        folder = env.get(KEYS_ENV)
        return cls(Path(folder)) if folder else None

    @property
    def are_there(self) -> bool:
        """Whether there is any key; without one everybody is refused."""
        return bool(self._digests())

    def check(self, scope: Scope) -> None:
        """Raise RefusedError (401) for a request that shows none of the keys."""
        shown = [_digest(key) for key in _shown(scope)]
        known = self._digests()
        found = False
        for mine, yours in product(known, shown):  # to the end: how long it takes tells nothing of a key
            found |= hmac.compare_digest(mine, yours)
        if found:
            return
        if not known:
            text = (
                "This server asks for a key and has none to accept: its Secret has no value that can be one."
            )
        elif shown:
            text = "This server does not know this key."
        else:
            text = "This server asks for a key: send it as Authorization: Bearer KEY, or as api-key: KEY."
        headers = ((b"www-authenticate", b"Bearer"),)
        raise RefusedError(401, text, code="invalid_api_key", headers=headers)

    def _digests(self) -> tuple[bytes, ...]:
        version = self._seen()
        if version is None or version != self._version:
            self._read, self._version = tuple(map(_digest, self._values())), version
        return self._read

    def _seen(self) -> _Version | None:
        """Which make of the mounted Secret is there; None where that cannot be told."""
        try:
            found = (self._folder / _DATA).stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino, found.st_mtime_ns)

    def _values(self) -> Iterator[bytes]:
        """What cannot be read is no key."""
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if name.startswith(".."):
                    continue
                with suppress(OSError):
                    value = (self._folder / name).read_bytes().strip()
                    if can_be_sent(value):
                        yield value


def can_be_sent(value: bytes) -> bool:
    """Whether a value can be a key in a header: printable characters of ASCII, and no spaces within."""
    return bool(value) and all(0x21 <= byte <= 0x7E for byte in value)


def _shown(scope: Scope) -> Iterator[bytes]:
    """Keys that a request shows: as clients of OpenAI's send them, and as those of Azure's."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                yield key.strip()
        elif name == b"api-key" and value.strip():
            yield value.strip()


def _digest(key: bytes) -> bytes:
    """Of one length, whatever the key's is."""
    return hashlib.sha256(key).digest()
