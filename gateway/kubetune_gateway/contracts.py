"""What the routes need of the world, each part by what it answers. Pure.

Objects of the API server are raw JSON. All methods raise ApiError and nothing else: 503 where the API server
or S3 does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from .archive.store import Archive
from .callers.caller import Caller as Caller
from .callers.caller import Resource as Resource
from .callers.caller import Verb as Verb
from .chat.upstream import Upstream
from .completions.store import Completions
from .files.store import FileStore
from .limits.kinds import Limits
from .platform import Platform
from .store.bucket import Bucket
from .telemetry import Telemetry
from .uploads.store import UploadStore


class Callers(Protocol):
    """Says who calls."""

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return who sends these headers (in small letters). Raises ApiError with 401 when nobody knows."""


class Access(Protocol):
    """Says who may do what."""

    async def require(self, caller: Caller, verb: Verb, resource: Resource) -> None:
        """Raise ApiError with 403 unless the caller may, in the caller's namespace."""


class Jobs(Protocol):
    """FineTuneJobs, as the gateway's own service account: who may is asked before."""

    async def list(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        """All of a namespace, at most seconds old. They are shared: nobody changes them."""

    async def get(self, namespace: str, uid: str) -> Mapping[str, Any] | None:
        """The one with this uid; one that was made a moment ago is found, whoever made it."""

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one, and return it as the API server has it. What it refuses is ApiError with 400."""

    async def patch(
        self, namespace: str, name: str, *, uid: str, patch: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Change the one with this uid by a merge patch, and return it; 404 where it is gone."""

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete the one with this uid; one that is gone is success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """All that the routes use."""

    callers: Callers
    access: Access
    jobs: Jobs
    bucket: Bucket
    files: FileStore
    archive: Archive
    upstream: Upstream
    uploads: UploadStore
    completions: Completions
    platform: Platform
    telemetry: Telemetry
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    """So many bytes that nobody can guess."""
    limits: Limits = field(default_factory=Limits)
