"""The limits, and which of them hold for a request. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

MIB: Final = 1024**2
FORM_BYTES: Final = MIB
"""What a form may have beside its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one replica: of a platform with three, a caller may have three times the rates."""

    requests_per_minute: int = 1200
    """Of one caller, for files, parts and all that is not chat, of each."""
    burst: int = 300
    """Requests at once, before those of a minute count."""
    chat_requests_per_minute: int = 12_000
    chat_burst: int = 1000
    json_bytes: int = MIB
    chat_bytes: int = 8 * MIB
    file_bytes: int = 512 * MIB
    part_bytes: int = 64 * MIB
    body_seconds: float = 60
    """In which a body of JSON has to arrive."""
    pause_seconds: float = 30
    """For which an upload may stand still, or wait for its turn."""
    upload_seconds: float = 3600
    """In which a file or a part has to arrive."""
    answer_seconds: float = 60
    """From a body's end to the beginning of the answer; chat has no such limit."""
    assemble_seconds: float = 600
    """The same, for a file that is made of its parts."""
    unread_seconds: float = 300
    """For which a client may leave an answer unread."""
    under_way: int = 512
    """Requests at a time."""
    uploads: int = 16
    """Files and parts whose bytes are taken at a time; others wait, unread. Each takes about 24 MiB."""
    held_bytes: int = 256 * MIB
    """Bodies of JSON at a time, all together."""


class Kind(Enum):
    """Kinds of requests."""

    JSON = auto()
    CHAT = auto()
    FILE = auto()
    PART = auto()
    ASSEMBLE = auto()

    @property
    def is_upload(self) -> bool:
        """Whether its body goes on to S3 as it comes."""
        return self in (Kind.FILE, Kind.PART)


_KINDS: Final = (
    (re.compile(r"/completions$"), Kind.CHAT),
    (re.compile(r"/files$"), Kind.FILE),
    (re.compile(r"/uploads/[^/]*/parts$"), Kind.PART),
    (re.compile(r"/uploads/[^/]*/complete$"), Kind.ASSEMBLE),
)


def kind_of(method: str, path: str) -> Kind:
    """Kind of a request. OpenAI's and Azure's paths end alike."""
    if method == "POST":
        for pattern, kind in _KINDS:
            if pattern.search(path):
                return kind
    return Kind.JSON


def body_bytes(limits: Limits, kind: Kind) -> int:
    """How long a body of this kind may be."""
    match kind:
        case Kind.CHAT:
            return limits.chat_bytes
        case Kind.FILE:
            return limits.file_bytes + FORM_BYTES
        case Kind.PART:
            return limits.part_bytes + FORM_BYTES
        case Kind.JSON | Kind.ASSEMBLE:
            return limits.json_bytes


def answer_seconds(limits: Limits, kind: Kind) -> float | None:
    """How long may pass from a body's end to the beginning of its answer; None: as long as it takes."""
    match kind:
        case Kind.CHAT:
            return None
        case Kind.ASSEMBLE:
            return limits.assemble_seconds
        case Kind.JSON | Kind.FILE | Kind.PART:
            return limits.answer_seconds
