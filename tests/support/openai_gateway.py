"""The gateway on a port of this machine, with a real S3 endpoint and FineTuneJobs in memory."""

from __future__ import annotations

import asyncio
import secrets
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import uvicorn

from dev.cluster import ports
from kubetune.vocabulary.times import rfc3339
from kubetune_gateway.app import app
from kubetune_gateway.archive.store import Archive
from kubetune_gateway.chat.upstream import Upstream, sessions
from kubetune_gateway.completions.store import Completions
from kubetune_gateway.contracts import Caller, Means, Resource, Verb
from kubetune_gateway.files.store import FileStore
from kubetune_gateway.limits.kinds import Limits
from kubetune_gateway.platform import Base, Platform
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.telemetry import Telemetry
from kubetune_gateway.uploads.store import UploadStore
from kubetune_gateway.wire.errors import ApiError, not_found, unavailable
from tests.support.s3_server import KEY, REGION, SECRET, S3Server, wait_until_it_answers

PLACES = Places("clients")
TOKENS = {"token-of-team-a": "team-a", "token-of-team-b": "team-b"}
FREE = Limits(requests_per_minute=10**6, burst=10**6)
"""Limits that tests of other things do not meet."""


class KnownTokens:
    """Callers by their token, shown as clients of OpenAI's do, or of Azure's."""

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        shown = headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        namespace = TOKENS.get(shown)
        if namespace is None:
            raise ApiError("Incorrect API key provided.", status=401, code="invalid_api_key")
        return Caller(user=f"user-of-{namespace}", namespace=namespace)


@dataclass(slots=True)
class KnownRights:
    """Everybody may do all but what is listed here."""

    denied: set[tuple[str, Verb, Resource]] = field(default_factory=set)
    """Namespace, verb and resource."""

    async def require(self, caller: Caller, verb: Verb, resource: Resource) -> None:
        if (caller.namespace, verb, resource) in self.denied:
            raise ApiError(f"{caller.user} may not {verb} {resource}.", status=HTTPStatus.FORBIDDEN)


@dataclass(slots=True)
class MemoryJobs:
    """FineTuneJobs as an API server would have them."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    is_away: bool = False
    """Whether nothing can be deleted now."""

    async def list(self, namespace: str) -> Sequence[Mapping[str, Any]]:
        return [raw for raw in self.objects if raw["metadata"]["namespace"] == namespace]

    async def get(self, namespace: str, uid: str) -> Mapping[str, Any] | None:
        return next((raw for raw in await self.list(namespace) if raw["metadata"]["uid"] == uid), None)

    async def patch(
        self, namespace: str, name: str, *, uid: str, patch: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        found = await self.get(namespace, uid)
        if found is None:
            raise not_found("fine-tuning job", name)
        changed = merged(found, patch)
        self.objects[self.objects.index(dict(found))] = changed
        return changed

    async def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        now = {"uid": str(uuid.uuid4()), "creationTimestamp": rfc3339(datetime.now(UTC))}
        raw = {**manifest, "metadata": {**manifest["metadata"], **now}}
        self.objects.append(raw)
        return raw

    async def delete(self, namespace: str, name: str, *, uid: str) -> None:
        if self.is_away:
            raise unavailable("The API server")
        self.objects = [raw for raw in self.objects if raw["metadata"]["uid"] != uid]


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7386)."""
    found = dict(old)
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name) or {}, value) if isinstance(value, Mapping) else value
    return found


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where it answers, and what is behind it."""

    url: str
    jobs: MemoryJobs
    rights: KnownRights
    telemetry: Telemetry


def means(
    client: Any,
    session: Any,
    *,
    jobs: MemoryJobs | None = None,
    rights: KnownRights | None = None,
    models: Mapping[str, Base] | None = None,
    telemetry: Telemetry | None = None,
    limits: Limits = FREE,
) -> Means:
    """What a gateway needs, over a client of S3 and one of servers."""
    telemetry = telemetry or Telemetry()
    bucket = Bucket(client, PLACES.bucket, failed=telemetry.outages.labels("s3").inc)
    files = FileStore(bucket, PLACES, limit=limits.file_bytes)
    return Means(
        callers=KnownTokens(),
        access=rights or KnownRights(),
        jobs=jobs or MemoryJobs(),
        bucket=bucket,
        files=files,
        completions=Completions(bucket, PLACES),
        archive=Archive(bucket, PLACES),
        uploads=UploadStore(bucket, PLACES, files, part_bytes=limits.part_bytes),
        upstream=Upstream(session, telemetry),
        telemetry=telemetry,
        platform=Platform(
            models={"gpt-4o-mini": Base(uri="hf://Qwen/Qwen3-8B"), **(models or {})},
            places=PLACES,
            spec={"training": {"gpusPerNode": 0}, "serving": {}},
        ),
        now=lambda: datetime.now(UTC),
        random=secrets.token_bytes,
        limits=limits,
    )


@contextmanager
def running(
    s3: S3Server, models: Mapping[str, Base] | None = None, *, limits: Limits = FREE
) -> Iterator[Gateway]:
    """Run one while the block runs; ``models`` are further base models."""
    jobs, rights, port = MemoryJobs(), KnownRights(), ports.free_ports(1)[0]
    telemetry = Telemetry()
    serving: list[uvicorn.Server] = []

    async def serve() -> None:
        async with (
            s3_client(endpoint=s3.url, region=REGION, key=KEY, secret=SECRET) as client,
            sessions() as session,
        ):
            found = means(
                client,
                session,
                jobs=jobs,
                rights=rights,
                models=models,
                telemetry=telemetry,
                limits=limits,
            )
            config = uvicorn.Config(app(found), host="127.0.0.1", port=port, log_level="warning")
            serving.append(uvicorn.Server(config))
            await serving[0].serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url = f"http://127.0.0.1:{port}/v1"
    try:
        wait_until_it_answers(f"{url}/openapi.json")
        yield Gateway(url, jobs, rights, telemetry)
    finally:
        serving[0].should_exit = True
        thread.join()
