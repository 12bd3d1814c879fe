"""Two operators at once, as when a node is lost: nothing is made twice, and neither undoes the other."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.control_plane import ControlPlane
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from tests.support import messages
from tests.support.apiserver import Api, ApiError, FakeKubelet, condition
from tests.support.operator_process import OperatorProcess, operator_process

pytestmark = pytest.mark.apiserver

SETTINGS = {"KUBETUNE_TRAINER_IMAGE": "trainer:1", "KUBETUNE_SERVING_IMAGE": "serving:1"}
JOBS = [f"twice-{number}" for number in range(5)]


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as running_plane:
        yield running_plane


async def test_two_at_once_make_everything_once(control_plane: ControlPlane, tmp_path: Path) -> None:
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    async with Api(configuration) as api, FakeKubelet(api=api, script=_ends_well):
        with suppress(ApiError):  # it is there
            await api.install_crd()
        with _operator(control_plane, tmp_path / "second.log") as second:
            with _operator(control_plane, tmp_path / "first.log") as first:
                await _until(lambda: first.ready() and second.ready())
                for name in JOBS:
                    await api.create_job(name)
                await _until_trained(api, JOBS)
            await api.create_job("once")  # by the one that is left
            await _until_trained(api, ["once"])
    lines = map(json.loads, control_plane.audit_log.read_text().splitlines())
    entries = [entry for entry in lines if "objectRef" in entry]
    made = Counter(
        (entry["objectRef"]["resource"], name)
        for entry in entries
        if entry["verb"] == "create"
        and entry["responseStatus"]["code"] == 201
        and (name := entry["objectRef"].get("name"))
    )
    children = {(kind, name): count for (kind, name), count in made.items() if name.startswith("twice-")}
    assert len(children) >= len(JOBS) * 5  # ConfigMap, claim, Service and two Jobs each
    assert set(children.values()) == {1}
    written = Counter(
        entry["objectRef"]["name"]
        for entry in entries
        if entry["objectRef"].get("subresource") == "status"
        and entry["objectRef"]["resource"] == "finetunejobs"
    )
    # A quarrel would never end: each would write its own view over the other's.
    assert max(written[name] for name in JOBS) <= 12


def _operator(control_plane: ControlPlane, log: Path) -> AbstractContextManager[OperatorProcess]:
    return operator_process(control_plane.kubeconfig, SETTINGS, log=log)


def _ends_well(pod: Mapping[str, Any]) -> tuple[int, str]:
    stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
    return 0, messages.prepared() if stage == "prepare" else messages.trained()


async def _until_trained(api: Api, names: list[str]) -> None:
    async with asyncio.timeout(120):
        for name in names:
            while condition(await api.job(name), "Trained").get("status") != "True":  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def _until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(what):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
