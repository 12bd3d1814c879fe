"""What the routes need of the world: who calls, FineTuneJobs, and files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from .files.store import FileStore
from .platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, as Kubernetes knows them, and the one namespace that they act in."""

    user: str
    groups: tuple[str, ...] = ()
    namespace: str


class Callers(Protocol):
    """Says who calls."""

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return who sends these headers (in small letters). Raises ApiError with 401 when nobody knows."""


class Jobs(Protocol):
    """FineTuneJobs, as a caller may use them. What they may not is ApiError with 403; 503: try again."""

    async def list(self, caller: Caller) -> Sequence[Mapping[str, Any]]:
        """All of the caller's namespace."""

    async def create(self, caller: Caller, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one, and return it as the API server has it."""

    async def delete(self, caller: Caller, name: str, *, uid: str) -> None:
        """Delete the one with this uid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """All that the routes use."""

    callers: Callers
    jobs: Jobs
    files: FileStore
    platform: Platform
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    """So many bytes that nobody can guess."""
