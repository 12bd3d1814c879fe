"""Times as Kubernetes writes them, and back. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(time: datetime) -> str:
    """A moment in UTC, whole seconds."""
    # A status is full of them, and strftime takes ten times as long.
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def rfc3339_micro(time: datetime) -> str:
    """A moment in UTC with microseconds, which Kubernetes calls MicroTime."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_time(text: object) -> datetime | None:
    """Parse a Kubernetes timestamp; None when absent or malformed."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
