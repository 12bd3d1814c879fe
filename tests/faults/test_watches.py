"""The watches on a real API server, with faults between: nothing is missed, and no ghost makes anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration

from dev.cluster.control_plane import ControlPlane
from dev.cluster.ports import free_ports
from kubetune.cluster.index import RELISTED
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from kubetune.facts.views import Key, Kind
from kubetune.process.main import Parts, running
from kubetune.process.settings import Settings
from tests.support.apiserver import Api, ApiError
from tests.support.fault_proxy import FaultProxy
from tests.support.operator_process import health

pytestmark = pytest.mark.apiserver

OUTAGE = 75.0
"""Seconds; ends plain kopf."""

SETTINGS = Settings(
    trainer_image="trainer:1", serving_image="serving:1", metrics_port=0, health_port=0, log_format="plain"
)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as running_plane:
        yield running_plane


@dataclass(slots=True, kw_only=True)
class Bench:
    """The operator behind a proxy, with three FineTuneJobs that wait for their prepare pods."""

    api: Api
    proxy: FaultProxy
    parts: Parts
    prefix: str

    def key(self, number: int) -> Key:
        return Key(Kind.FINE_TUNE_JOB, "default", f"{self.prefix}-{number}")

    def known(self, number: int) -> bool:
        return self.parts.index.parent(self.key(number)) is not None

    async def delete(self, number: int) -> None:
        await self.api.delete_job(self.key(number).name)

    def restarts(self) -> float:
        value = self.parts.metrics.registry.get_sample_value(
            "kubetune_watch_restarts_total", {"resource": "finetunejobs"}
        )
        return value or 0.0

    async def assert_alive(self) -> None:
        """A new job gets its children: all of it works."""
        name = f"{self.prefix}-new"
        await self.api.create_job(name)
        await until(
            lambda: any(
                child.kind == "Job"
                for child in self.parts.index.children(Key(Kind.FINE_TUNE_JOB, "default", name))
            )
        )

    def made_for(self, number: int, *, since: int) -> list[str]:
        """Creations for a job since a moment."""
        name = self.key(number).name
        new = self.proxy.writes[since:]
        return [write for write in new if write.startswith("POST") and name in write]


async def until(what: Callable[[], object], *, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.05)


async def _configuration(control_plane: ControlPlane) -> Configuration:
    return await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})


@pytest.fixture(autouse=True)
async def _closed_connections() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0.25)  # aiohttp closes its transports a few turns of the loop later


@asynccontextmanager
async def bench(control_plane: ControlPlane, prefix: str, **settings: Any) -> AsyncIterator[Bench]:
    configuration = await _configuration(control_plane)
    async with Api(configuration) as api, FaultProxy(configuration) as proxy:
        with suppress(ApiError):  # it is there
            await api.install_crd()
        async with running(SETTINGS.model_copy(update=settings), proxy.configuration) as parts:
            found = Bench(api=api, proxy=proxy, parts=parts, prefix=prefix)
            for number in range(3):
                await api.create_job(found.key(number).name)
            for number in range(3):
                key = found.key(number)
                await until(lambda key=key: len(parts.index.children(key)) >= 4)  # type: ignore[misc]
            await until(lambda: parts.leader.idle)
            yield found
        for job in await api.items("/apis/kubetune.dev/v1alpha1/finetunejobs"):
            await api.delete_job(job["metadata"]["name"])


async def test_a_namespaced_operator_sends_only_namespaced_requests(control_plane: ControlPlane) -> None:
    configuration = await _configuration(control_plane)
    settings = SETTINGS.model_copy(update={"watch_namespaces": ("default", "kube-public")})
    async with Api(configuration) as api, FaultProxy(configuration) as proxy:
        with suppress(ApiError):
            await api.install_crd()
        async with running(settings, proxy.configuration) as parts:
            await api.create_job("ns")
            await until(lambda: len(parts.index.children(Key(Kind.FINE_TUNE_JOB, "default", "ns"))) >= 4)
            for kind in RELISTED:
                await parts.kube.list_metadata(kind)
        await api.delete_job("ns")
        # What is left is discovery, which everybody may read: /api, /apis and their versions.
        resources = {path for path in proxy.paths if path.count("/") > 3 or "?" in path}
        assert resources
        others = [path for path in resources if "/namespaces/default/" not in path]
        assert [path for path in others if "/namespaces/kube-public/" not in path] == []


async def test_an_error_in_the_stream_ends_neither_process_nor_knowledge(control_plane: ControlPlane) -> None:
    async with bench(control_plane, "err") as b:
        since = len(b.proxy.writes)
        assert await b.proxy.send_error("finetunejobs") == 1
        assert await b.proxy.send_error("jobs") == 1
        await b.delete(0)
        await until(lambda: not b.known(0))
        assert b.known(1)
        assert b.restarts() == 1
        await b.assert_alive()
        assert b.made_for(0, since=since) == []


async def test_deletions_during_an_outage_are_made_up_for(control_plane: ControlPlane) -> None:
    async with bench(control_plane, "out") as b:
        since = len(b.proxy.writes)
        b.proxy.refuse = 503
        b.proxy.cut()
        await b.delete(0)
        await asyncio.sleep(OUTAGE)
        b.proxy.refuse = None
        await until(lambda: not b.known(0), seconds=30)
        assert b.known(1)
        await b.assert_alive()
        assert b.made_for(0, since=since) == []


async def test_deletions_while_the_api_server_restarts_are_made_up_for(control_plane: ControlPlane) -> None:
    async with bench(control_plane, "res") as b:
        since = len(b.proxy.writes)
        b.proxy.refuse = 503
        b.proxy.cut()
        await b.delete(0)
        await asyncio.to_thread(control_plane.stop_apiserver)
        await asyncio.to_thread(control_plane.start_apiserver)
        await b.delete(1)
        b.proxy.refuse = None
        await until(lambda: not b.known(0) and not b.known(1), seconds=30)
        assert b.known(2)
        await b.assert_alive()
        assert b.made_for(0, since=since) == b.made_for(1, since=since) == []


async def test_a_crash_of_the_api_server_is_survived(control_plane: ControlPlane) -> None:
    async with bench(control_plane, "cra") as b:
        await asyncio.to_thread(control_plane.stop_apiserver)
        await asyncio.sleep(3)
        await asyncio.to_thread(control_plane.start_apiserver)
        await b.delete(0)
        await until(lambda: not b.known(0), seconds=30)
        await b.assert_alive()


async def test_a_silent_hole_is_corrected_by_the_relist(control_plane: ControlPlane) -> None:
    async with bench(control_plane, "hol") as b:
        since = len(b.proxy.writes)
        b.proxy.mute()
        await b.delete(0)
        await until(lambda: not b.known(0), seconds=70)
        assert b.made_for(0, since=since) == []
        await until(lambda: b.proxy.watches("finetunejobs") == 1, seconds=80)
        await b.assert_alive()


async def test_a_watch_that_stays_silent_fails_liveness_and_quiet_ones_do_not(
    control_plane: ControlPlane,
) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/healthz"
    async with bench(control_plane, "sil", health_port=port) as b:
        assert await asyncio.to_thread(health, url) == (200, "ok")
        b.proxy.deafen("finetunejobs")
        status, said = await until_unlike(200, url)
        assert status == 503
        assert said.startswith("nothing has come on the watch of finetunejobs for ")
        # The other watches have had nothing but bookmarks for as long.
        b.proxy.restore("finetunejobs")
        assert await until_unlike(503, url) == (200, "ok")
        await b.assert_alive()


async def until_unlike(status: int, url: str) -> tuple[int, str]:
    """Wait until a probe says something else."""
    async with asyncio.timeout(300):
        while (answer := await asyncio.to_thread(health, url))[0] == status:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    return answer
