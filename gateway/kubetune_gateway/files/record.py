"""What is told of a file, and kept beside it. Pure. Source: as of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from ..wire.jobs import Wire

MAX_BYTES: Final = 512 * 1024**2
"""Of one upload; larger files come in parts."""

Purpose = Literal["fine-tune", "fine-tune-results"]


class File(Wire):
    """A file as it is told."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    """Unix seconds."""
    expires_at: int | None = None
    filename: str
    purpose: Purpose
    status: Literal["uploaded", "processed", "error"] = "processed"
    """Nothing is done to a file before a job reads it."""


class Kept(Wire):
    """What is kept of a file: who tells of it tells the first part."""

    file: File
    sha256: str
    lines: Annotated[int, Field(ge=0)]
    """Lines that are not blank: of JSON Lines the examples, by which "auto" is resolved."""

    def has_expired(self, now: datetime) -> bool:
        """Whether it is to be deleted, and told of no more."""
        return self.file.expires_at is not None and self.file.expires_at <= now.timestamp()


def filename(given: str | None) -> str:
    """The name that a client gave, without folders; clients that send bytes give none, or "upload"."""
    name = (given or "").replace("\\", "/").rpartition("/")[2].strip()
    plain = "".join(letter for letter in name if letter.isprintable())
    return plain[:255] or "upload.jsonl"
