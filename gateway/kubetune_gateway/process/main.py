"""Composition root: runs the gateway until it is told to end."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import uvloop
from kubernetes.aio.client.configuration import Configuration
from prometheus_client import GCCollector, PlatformCollector, disable_created_metrics

from kubetune.cluster.kube.connection import load_configuration

from ..app import app
from ..webhooks.endpoint import Endpoint
from .access import AccessLog
from .compose import composed
from .health import serve_health
from .logs import configure_logging
from .recording import endpoints_of
from .server import server
from .settings import Settings, explain, load

logger = logging.getLogger(__name__)

_COLLECT_AFTER: Final = 10_000
"""New objects until the youngest are looked through. Every request makes thousands, and drops them without a
cycle."""


def serve() -> int:
    """Run until SIGTERM; return the process's exit code."""
    try:
        settings = load()
        endpoints = endpoints_of(settings)
    except ValueError as error:
        print(explain(error), file=sys.stderr)
        return 2
    configure_logging(level=settings.log_level, form=settings.log_format)
    collect_rarely()
    uvloop.run(_run(settings, endpoints))
    return 0


def collect_rarely() -> None:
    """Keep pauses short, in which no token of any stream passes."""
    gc.freeze()  # what was imported stays: each full collection would look through all of it
    gc.set_threshold(_COLLECT_AFTER)


async def _run(settings: Settings, endpoints: Sequence[Endpoint]) -> None:
    await run(settings, endpoints, await load_configuration())


async def run(settings: Settings, endpoints: Sequence[Endpoint], configuration: Configuration) -> None:
    """Answer clients until a signal, and then to the end what was begun. Raises what ends the background."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    async with composed(settings, endpoints, configuration) as parts:
        registry = parts.means.telemetry.registry
        for collector in (PlatformCollector, GCCollector):
            collector(registry=registry)
        serving = server(
            AccessLog(app(parts.means)), port=settings.api_port, drain_seconds=settings.drain_seconds
        )

        def not_ready() -> str | None:
            return "it ends" if serving.should_exit else parts.missing()

        async with serve_health(settings.metrics_port, registry=registry, ready=not_ready):
            logger.info("Serving", extra={"port": settings.api_port, "models": sorted(settings.models)})
            await _beside(parts.background, serving.serve)
        logger.info("Ended")


async def _beside(
    background: tuple[Callable[[], Awaitable[Any]], ...], work: Callable[[], Awaitable[Any]]
) -> None:
    """Do the work, with the background beside it for as long."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_forever(each)) for each in background]
        await work()
        for task in tasks:
            task.cancel()


async def _forever(each: Callable[[], Awaitable[Any]]) -> None:
    await each()
    raise RuntimeError("what goes on beside the answers has ended")
