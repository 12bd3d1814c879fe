"""Two operators on a real API server: one acts, the other takes over, and nothing is made or said twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.cluster.control_plane import ControlPlane
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from tests.support import messages
from tests.support.apiserver import Api, ApiError, FakeKubelet, condition
from tests.support.operator_process import OperatorProcess, operator_process

pytestmark = pytest.mark.apiserver

SETTINGS = {"KUBETUNE_TRAINER_IMAGE": "trainer:1", "KUBETUNE_SERVING_IMAGE": "serving:1"}
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/kubetune"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as running_plane:
        yield running_plane


@dataclass(slots=True, kw_only=True)
class Pair:
    """The one that acts, and its standby."""

    api: Api
    audit_log: Path
    leader: OperatorProcess
    standby: OperatorProcess

    async def holder(self) -> str:
        spec = (await self.api.request("GET", LEASE))["spec"]
        return str(spec.get("holderIdentity", ""))

    def made(self, *names: str) -> Counter[tuple[str, str]]:
        """How often children of jobs of these names were made."""
        lines = map(json.loads, self.audit_log.read_text().splitlines())
        return Counter(
            (entry["objectRef"]["resource"], name)
            for entry in lines
            if "objectRef" in entry
            and entry["verb"] == "create"
            and entry["responseStatus"]["code"] == 201
            and (name := entry["objectRef"].get("name"))
            and name.startswith(names)
        )


@asynccontextmanager
async def pair(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Pair]:
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    async with Api(configuration) as api, FakeKubelet(api=api, script=messages.ends_well):
        with suppress(ApiError):  # it is there
            await api.install_crd()
        with ExitStack() as stack:

            def start(name: str) -> OperatorProcess:
                log = tmp_path / f"{name}.log"
                return stack.enter_context(operator_process(control_plane.kubeconfig, SETTINGS, log=log))

            first, second = start("first"), start("second")
            await _until(lambda: first.ready() and second.ready())
            await _until(lambda: first.leads() or second.leads())
            leader, standby = (first, second) if first.leads() else (second, first)
            yield Pair(api=api, audit_log=control_plane.audit_log, leader=leader, standby=standby)


async def test_only_the_one_that_leads_writes(control_plane: ControlPlane, tmp_path: Path) -> None:
    names = [f"once-{number}" for number in range(5)]
    async with pair(control_plane, tmp_path) as both:
        for name in names:
            await both.api.create_job(name)
        await _until_trained(both.api, names)
        assert both.standby.ready()
        assert not both.standby.leads()
        assert both.leader.writes() > 0
        assert both.standby.writes() == 0
        await _until(lambda: both.leader.done() >= set(names))
        assert both.standby.done() == set()
        made = both.made("once-")
        assert len(made) >= len(names) * 5  # ConfigMap, claim, Service and two Jobs each
        assert set(made.values()) == {1}


async def test_a_leader_that_is_killed_is_followed_and_its_jobs_go_on(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with pair(control_plane, tmp_path) as both:
        holder = await both.holder()
        await both.api.create_job("killed")
        await _until(lambda: both.made("killed"))
        both.leader.process.kill()
        await _until(both.standby.leads, seconds=90)
        assert await both.holder() not in ("", holder)
        await _until_trained(both.api, ["killed"])
        assert set(both.made("killed").values()) == {1}


async def test_a_leader_that_is_terminated_gives_the_lease_back(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with pair(control_plane, tmp_path) as both:
        await both.api.create_job("ended")
        await _until(lambda: both.made("ended"))
        holder = await both.holder()
        both.leader.process.terminate()
        assert await asyncio.to_thread(both.leader.process.wait, 30) == 0
        assert await both.holder() != holder  # nobody has to wait until it runs out
        await _until(both.standby.leads)
        await _until_trained(both.api, ["ended"])
        assert set(both.made("ended").values()) == {1}


async def _until_trained(api: Api, names: list[str]) -> None:
    async with asyncio.timeout(120):
        for name in names:
            while condition(await api.job(name), "Trained").get("status") != "True":  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def _until(what: Callable[[], object], *, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(what):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
