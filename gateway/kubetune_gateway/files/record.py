"""What is told of a file, and kept beside it. Pure. Source: as of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from ..wire.errors import ApiError
from ..wire.jobs import Wire

MAX_BYTES: Final = 512 * 1024**2
"""Of one upload; larger files come in parts."""

LIFETIME: Final = range(3600, 2_592_001)
"""Seconds after which a client may have a file deleted."""

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


def purpose_of(given: str | None) -> Purpose:
    """What a client may upload a file for. Raises ApiError for all else."""
    if given != "fine-tune":
        known = " or ".join(get_args(Purpose))
        raise ApiError(
            f"A file for fine-tuning has the purpose fine-tune; files here have {known}.",
            code="invalid_purpose",
            param="purpose",
        )
    return "fine-tune"


def lifetime(anchor: str | None, seconds: int) -> int:
    """After how long a file is to be deleted. Raises ApiError for what cannot be."""
    if anchor != "created_at" or seconds not in LIFETIME:
        raise ApiError(
            f"A file expires from {LIFETIME[0]} to {LIFETIME[-1]} seconds after created_at.",
            code="invalid_value",
            param="expires_after",
        )
    return seconds
