"""The key that the job's own servers ask for, from the Secret that both have mounted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def key_in(folder: Path) -> str | None:
    """A key of the Secret as it is now; None while none of its values can be one.

    All are good for the server, which takes the same values: printable characters of ASCII, without spaces.
    """
    return next((value for value in _values(folder) if value.isprintable() and " " not in value), None)


def _values(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for path in sorted(folder.iterdir()):  # the kubelet's own begin with two dots
            if path.name.startswith(".."):
                continue
            with suppress(OSError, UnicodeDecodeError):
                if value := path.read_text("ascii").strip():
                    yield value
