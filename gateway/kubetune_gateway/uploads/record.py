"""What is told of an upload in parts, and kept beside it. Pure. Source: as of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from ..files.record import LIFETIME, File, Kept, Purpose
from ..wire.jobs import Wire

MAX_BYTES: Final = 8 * 1024**3
"""Of a file that comes in parts."""
PART_BYTES: Final = 64 * 1024**2
"""Of one part at most."""
MAX_PARTS: Final = 10_000
LIFE_SECONDS: Final = 3600
"""For which parts are taken."""

_Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ExpiresAfter(Wire):
    """When a file is to be deleted."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=LIFETIME[0], le=LIFETIME[-1])]


class CreateUpload(Wire):
    """Body of POST /uploads."""

    filename: _Text
    purpose: Annotated[str, Field(max_length=64, json_schema_extra={"enum": ["fine-tune"]})]
    bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)]
    """Of all parts together."""
    mime_type: Annotated[str, StringConstraints(max_length=256)]
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Wire):
    """Body of POST /uploads/{id}/complete."""

    part_ids: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=MAX_PARTS)]
    """In the order of the file."""
    md5: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Of the file, in hex."""


class Upload(Wire):
    """An upload as it is told."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    """Unix seconds."""
    expires_at: int
    filename: str
    purpose: Purpose
    status: Literal["pending", "completed", "cancelled", "expired"] = "pending"
    file: File | None = None


class UploadPart(Wire):
    """A part as it is told."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    """Unix seconds."""
    upload_id: str


class Begun(Wire):
    """What is kept of an upload from its beginning."""

    upload: Upload
    expires_after: int | None = None
    """Of the file."""

    def has_expired(self, now: datetime) -> bool:
        """Whether no part is taken any more."""
        return self.upload.expires_at <= now.timestamp()


class Ended(Wire):
    """How an upload has ended; written once."""

    kept: Kept | None
    """The file; None: it was cancelled."""
