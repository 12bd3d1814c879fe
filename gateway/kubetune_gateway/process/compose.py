"""What the routes use, made of the settings and the world."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio.client.configuration import Configuration

from ..archive.store import Archive
from ..callers.access import KubeAccess
from ..callers.accounts import Accounts
from ..callers.callers import KubeCallers
from ..callers.keys import KeyStore
from ..callers.tokens import Tokens
from ..chat.upstream import Upstream, sessions
from ..completions.store import Completions
from ..contracts import Means
from ..files.store import FileStore
from ..kube.api_server import ApiServer
from ..kube.jobs import KubeJobs
from ..kube.watch import JobWatch
from ..store.bucket import Bucket, s3_client
from ..telemetry import Telemetry
from ..uploads.store import UploadStore
from ..webhooks.endpoint import Endpoint
from ..wire.errors import ApiError
from .recording import recording
from .settings import Settings, Storage, explain, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The running gateway."""

    means: Means
    missing: Callable[[], str | None]
    """What is not there yet, without which clients get no answers; None when all is. S3 is not looked at:
    whoever needs it is told that it is away, and others are answered."""
    background: tuple[Callable[[], Awaitable[Any]], ...]
    """What goes on beside the answers. None of it ends by itself."""


@asynccontextmanager
async def composed(
    settings: Settings,
    endpoints: Sequence[Endpoint],
    configuration: Configuration,
    *,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[Parts]:
    """Have all parts while the block runs."""
    telemetry = Telemetry()
    async with AsyncExitStack() as stack:
        api = ApiServer(configuration, telemetry)
        stack.push_async_callback(api.close)
        client = await stack.enter_async_context(_s3(settings.storage, environ))
        failed, platform = telemetry.outages.labels("s3").inc, settings.platform
        bucket = Bucket(client, settings.storage.bucket, failed=failed)
        files = FileStore(bucket, platform.places, limit=settings.limits.file_bytes)
        part_bytes = settings.limits.part_bytes
        watch = JobWatch(api, namespaces=settings.namespaces)
        means = Means(
            callers=_callers(settings, api, bucket),
            access=KubeAccess(api),
            jobs=KubeJobs(api, watch),
            bucket=bucket,
            files=files,
            archive=Archive(bucket, platform.places),
            completions=Completions(bucket, platform.places),
            uploads=UploadStore(bucket, platform.places, files, part_bytes=part_bytes),
            upstream=Upstream(await stack.enter_async_context(sessions()), telemetry),
            platform=platform,
            telemetry=telemetry,
            now=now,
            random=secrets.token_bytes,
            limits=settings.limits,
        )
        yield Parts(
            means=means,
            missing=lambda: None if watch.synced else "FineTuneJobs have not been listed yet",
            background=(
                watch.run,
                recording(settings, endpoints, means, api, watch),
                telemetry.watch_loop,
            ),
        )


@asynccontextmanager
async def keys_by_environment() -> AsyncIterator[KeyStore]:
    """Have the store of API keys while the block runs. Raises ApiError where a setting of it is wrong."""
    try:
        settings = load()
    except ValueError as error:
        raise ApiError(explain(error)) from None
    async with _s3(settings.storage, os.environ) as client:
        yield KeyStore(Bucket(client, settings.storage.bucket), settings.platform.places)


def now() -> datetime:
    """The time, by this machine's clock."""
    return datetime.now(UTC)


def _s3(storage: Storage, environ: Mapping[str, str]) -> Any:
    """A client of S3. Keys come from the environment, or are the pod's own."""
    # AWS_REGION is what pods of jobs have in their Secrets; botocore reads AWS_DEFAULT_REGION only.
    region = storage.region or environ.get("AWS_REGION") or None
    return s3_client(endpoint=storage.endpoint or None, region=region)


def _callers(settings: Settings, api: ApiServer, bucket: Bucket) -> KubeCallers:
    return KubeCallers(
        Tokens(api, audiences=settings.audiences),
        keys=KeyStore(bucket, settings.platform.places) if settings.api_keys.enabled else None,
        accounts=Accounts(api),
        namespaces=settings.namespaces,
        now=now,
    )
