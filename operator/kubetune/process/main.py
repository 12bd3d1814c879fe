"""Composition root: builds the operator from its parts, and runs it until it is stopped.

kopf writes nothing: its only handlers are there for their watches, whose events ``feed`` gets.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import aiohttp
import kopf
from kubernetes.aio.client.configuration import Configuration

from ..cluster.index import RELISTED, UNWATCHED, Index
from ..cluster.kube import Kube
from ..cluster.kube.client import ApiKube
from ..cluster.kube.connection import load_configuration, new_session
from ..cluster.kube.resources import RESOURCES
from ..cluster.lease import Elector, new_identity
from ..cluster.watch import WATCHED, Watches, expected_streams, guarded_watches, watch_all
from ..controller.leader import Leader, Means
from ..facts.views import Kind
from ..pods_http.client import HttpWeb
from ..vocabulary.errors import KubeTuneError, NotFound
from ..vocabulary.periods import RELIST_PERIOD, TELL_AFTER
from .feed import Feed
from .health import QUEUE_AGE_LIMIT, serve_health, serve_metrics
from .metrics.job import jobs_of
from .metrics.own import Metrics
from .settings import Settings

logger = logging.getLogger(__name__)

START_PAUSE: Final = 2.0
"""Between two questions whether the CustomResourceDefinition is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The running operator's parts, as handlers and probes need them."""

    configuration: Configuration
    kube: Kube
    index: Index
    elector: Elector
    leader: Leader
    watches: Watches
    metrics: Metrics
    feed: Feed
    sessions: list[aiohttp.ClientSession] = field(default_factory=list)
    """kopf's, which it does not always close when it ends."""


def build_registry(parts: Parts) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own: none registers by being imported."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        # A session of its own: kopf closes it when the API server says 401, and asks for another.
        session = new_session(parts.configuration)
        parts.sessions[:] = [*(known for known in parts.sessions if not known.closed), session]
        return kopf.AiohttpSession(server=parts.configuration.host, aiohttp_session=session)

    for kind in WATCHED:
        _watch(registry, kind)
    return registry


def _watch(registry: kopf.OperatorRegistry, kind: Kind) -> None:
    """Ask kopf for a watch: it opens one for each resource that has a handler. Events come by ``deliver``."""
    resource = RESOURCES[kind]

    @kopf.on.event(
        resource.group, resource.version, resource.plural, registry=registry, id=f"on-{resource.plural}"
    )
    async def on_event(**_: Any) -> None:
        raise AssertionError("the guard delivers events, and kopf gets none")


async def run(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT; then finish what is in work."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    take_signals()
    async with running(settings, await load_configuration(), on_watching=take_signals):
        await stop.wait()
        logger.info("Stopping")


@asynccontextmanager
async def running(
    settings: Settings, configuration: Configuration, *, on_watching: Callable[[], None] = lambda: None
) -> AsyncIterator[Parts]:
    """Run the operator while the block runs. Leaves by the error that ended it, should that happen.

    ``on_watching`` is called when kopf has started, which takes the process's signals.
    """
    metrics, index = Metrics(settings.fields_in_metrics), Index()
    async with AsyncExitStack() as stack:
        kube = ApiKube(configuration, namespaces=settings.watch_namespaces, on_request=metrics.on_request)
        stack.push_async_callback(kube.close)
        web = HttpWeb()
        stack.push_async_callback(web.close)
        leader = Leader(
            Means(
                kube=kube,
                index=index,
                web=web,
                settings=settings.for_job,
                policy=settings.policy,
                workers=settings.workers,
                on_done=metrics.on_reconcile,
                on_event=metrics.on_event,
            )
        )
        elector = Elector(
            kube, namespace=settings.lease_namespace, name=settings.lease_name, identity=new_identity()
        )
        watches = Watches(
            expected=expected_streams(settings.watch_namespaces), on_restart=metrics.on_watch_restart
        )
        parts = Parts(
            configuration=configuration,
            kube=kube,
            index=index,
            elector=elector,
            leader=leader,
            watches=watches,
            metrics=metrics,
            feed=Feed(kube=kube, index=index, watches=watches, leader=leader),
        )
        metrics.tell_jobs(lambda: jobs_of(index) if metrics.leads else ())
        ready = asyncio.Event()
        await stack.enter_async_context(
            serve_health(
                settings.health_port,
                healthy=lambda: _unhealthy(parts),
                ready=lambda: None if ready.is_set() else "not everything has been listed yet",
            )
        )
        await stack.enter_async_context(
            serve_metrics(settings.metrics_port, metrics, refresh=lambda: _refresh(parts))
        )
        tasks = [
            asyncio.create_task(_operate(settings, parts, on_watching), name="watches"),
            asyncio.create_task(_work(parts, ready), name="workers"),
        ]
        stack.push_async_callback(_cancel, tasks)
        me = asyncio.current_task()
        assert me is not None
        failed: list[BaseException] = []

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                failed.append(task.exception() or RuntimeError(f"the {task.get_name()} ended"))
                me.cancel()

        for task in tasks:
            task.add_done_callback(ended)
        try:
            yield parts
        except asyncio.CancelledError:
            if failed:
                raise failed[0] from None
            raise
        finally:
            for task in tasks:
                task.remove_done_callback(ended)


async def _operate(settings: Settings, parts: Parts, on_watching: Callable[[], None]) -> None:
    """Run kopf's watches."""
    await _wait_for_definition(parts.kube)
    try:
        with guarded_watches(parts.watches, parts.feed.deliver):
            await watch_all(build_registry(parts), settings.watch_namespaces, started=on_watching)
    finally:
        for session in parts.sessions:
            await session.close()


async def _wait_for_definition(kube: Kube) -> None:
    """Return when FineTuneJobs can be listed: kopf looks once, at its start, which kinds there are."""
    while True:
        try:
            await kube.list_metadata(Kind.FINE_TUNE_JOB)
        except NotFound:
            logger.warning("The CustomResourceDefinition finetunejobs.kubetune.dev is not installed yet")
        except KubeTuneError as error:
            logger.warning("The API server cannot be used yet", extra={"reason": str(error)})
        else:
            return
        await asyncio.sleep(START_PAUSE)


async def _work(parts: Parts, ready: asyncio.Event) -> None:
    """Act or wait for it when everything is known, and compare the index with lists for ever."""
    await until_known(parts)
    ready.set()
    logger.info("Ready", extra={"jobs": sum(1 for _ in parts.index.parents())})
    leading = asyncio.create_task(parts.elector.lead(parts.leader.act, on_change=parts.metrics.on_leading))
    try:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELIST_PERIOD.total_seconds()):
                    await asyncio.shield(leading)
            await parts.feed.relist(RELISTED)
    finally:
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading


async def until_known(parts: Parts) -> None:
    """Return when everything has been listed; until then have the jobs say what is in the way."""
    listed = asyncio.create_task(_until_listed(parts))
    telling: asyncio.Task[None] | None = None
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_AFTER.total_seconds()):
                return await asyncio.shield(listed)
        obstacle = partial(_obstacle, parts.kube)
        telling = asyncio.create_task(
            parts.elector.lead(partial(parts.leader.tell, obstacle), on_change=parts.metrics.on_leading)
        )
        await listed
    finally:
        await _cancel([task for task in (listed, telling) if task is not None])


async def _until_listed(parts: Parts) -> None:
    # Kinds that are not watched, or children that exist would all be posted once more.
    while await parts.feed.relist(UNWATCHED) is not None:  # noqa: ASYNC110 - nothing would set an event
        await asyncio.sleep(START_PAUSE)
    await parts.watches.wait_until_listed()


async def _obstacle(kube: Kube) -> KubeTuneError | None:
    """Why not everything can be listed; watches only log it, but lists meet the same."""
    for kind in (*UNWATCHED, *WATCHED):
        try:
            await kube.list_metadata(kind)
        except KubeTuneError as error:
            return error
    return None


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _unhealthy(parts: Parts) -> str | None:
    now = asyncio.get_running_loop().time()
    silent = parts.watches.silent(now)
    if silent is not None:
        return silent
    age = parts.leader.oldest_age(now)
    return f"a FineTuneJob has been waiting or in work for {age:.0f} s" if age > QUEUE_AGE_LIMIT else None


def _refresh(parts: Parts) -> None:
    parts.metrics.queue_depth.set(parts.leader.depth)
    parts.metrics.queue_oldest.set(parts.leader.oldest_age(asyncio.get_running_loop().time()))
