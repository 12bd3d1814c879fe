"""The gateway on a port of this machine, with a real API server and a real S3 endpoint behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import uvicorn
from kubernetes.aio.client.configuration import Configuration

from dev.cluster import ports
from kubetune_gateway.app import app
from kubetune_gateway.callers.access import KubeAccess
from kubetune_gateway.callers.accounts import Accounts
from kubetune_gateway.callers.callers import KubeCallers
from kubetune_gateway.callers.keys import KeyStore
from kubetune_gateway.callers.tokens import Tokens
from kubetune_gateway.chat.upstream import sessions
from kubetune_gateway.kube.api_server import ApiServer
from kubetune_gateway.kube.jobs import KubeJobs
from kubetune_gateway.kube.watch import JobWatch
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.telemetry import Telemetry
from tests.support.accounts import Rule
from tests.support.openai_gateway import PLACES, means
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

RIGHTS: tuple[Rule, ...] = (
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "create"),
    ("kubetune.dev", "finetunejobs", "get list watch create patch delete"),
    ("", "serviceaccounts", "get"),
)
"""All that the gateway's own account needs for callers and jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where it answers, and what is behind it."""

    url: str
    watch: JobWatch
    jobs: KubeJobs
    keys: KeyStore


@asynccontextmanager
async def connected(configuration: Configuration) -> AsyncIterator[ApiServer]:
    """The API server as the gateway reaches it."""
    api = ApiServer(configuration, Telemetry())
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def watching(api: ApiServer, **settings: Any) -> AsyncIterator[JobWatch]:
    """A watch that runs while the block does, and has listed everything."""
    watch = JobWatch(api, **settings)
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(60):
            await watch.wait_until_synced()
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def running(
    configuration: Configuration,
    s3: S3Server,
    *,
    namespaces: Sequence[str] = (),
    audiences: Sequence[str] = (),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Gateway]:
    """Run one replica while the block runs, as the account that the configuration has."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            s3_client(endpoint=s3.url, region=REGION, key=KEY, secret=SECRET)
        )
        api = await stack.enter_async_context(connected(configuration))
        watch = await stack.enter_async_context(watching(api, namespaces=namespaces))
        keys, jobs = KeyStore(Bucket(client, PLACES.bucket), PLACES), KubeJobs(api, watch)
        callers = KubeCallers(
            Tokens(api, audiences=audiences),
            keys=keys,
            accounts=Accounts(api),
            namespaces=namespaces,
            now=now,
        )
        session = await stack.enter_async_context(sessions())
        made = app(replace(means(client, session), callers=callers, access=KubeAccess(api), jobs=jobs))
        port = ports.free_ports(1)[0]
        server = uvicorn.Server(uvicorn.Config(made, host="127.0.0.1", port=port, log_level="warning"))
        task = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(60):
                while not server.started:  # noqa: ASYNC110 - nothing sets an event
                    await asyncio.sleep(0.02)
            yield Gateway(url=f"http://127.0.0.1:{port}/v1", watch=watch, jobs=jobs, keys=keys)
        finally:
            server.should_exit = True
            await task
