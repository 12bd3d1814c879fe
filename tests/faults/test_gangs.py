"""Gangs that a real scheduler places pod by pod: it lets two of them wait for each other."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dev.bench import workload
from dev.cluster.control_plane import ControlPlane
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from tests.support import messages
from tests.support.apiserver import Api, FakeKubelet, condition
from tests.support.operator_process import operator_process

pytestmark = pytest.mark.apiserver

SETTINGS = {
    "KUBETUNE_TRAINER_IMAGE": "trainer:1",
    "KUBETUNE_SERVING_IMAGE": "serving:1",
    "KUBETUNE_GANG_TIMEOUT_SECONDS": "30",
}
NAMES = ("one", "two")
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane.temporary() as running_plane:
        yield running_plane


@dataclass(slots=True)
class Gangs:
    """Containers of trainers: each waits for its peers."""

    running: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Names of the pods of each Job that have run."""

    def __call__(self, pod: Mapping[str, Any]) -> tuple[int, str] | None:
        labels = pod["metadata"]["labels"]
        if labels["kubetune.dev/stage"] == "prepare":
            return 0, messages.prepared()
        pods = self.running[labels["batch.kubernetes.io/job-name"]]
        pods.add(pod["metadata"]["name"])
        return (0, messages.trained()) if len(pods) == 2 else None


async def test_two_gangs_that_fit_alone_but_not_together_both_finish(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with _nodes(control_plane) as api, FakeKubelet(api=api, script=Gangs(), on_nodes=True):
        for manifest in workload.claim("default", name="shared"):
            await api.request("POST", _collection(manifest), manifest)
        with operator_process(control_plane.kubeconfig, SETTINGS, log=tmp_path / "operator.log"):
            for name in NAMES:
                await _create(api, name)
            await _until_each_holds_one(api)
            for name in NAMES:  # now each node takes pods of either, and has none to give
                await api.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": []}}, content=MERGE)
            async with asyncio.timeout(600):
                for name in NAMES:
                    while condition(await api.job(name), "Trained").get("status") != "True":  # noqa: ASYNC110
                        await asyncio.sleep(0.5)
        attempts = [attempt for name in NAMES for attempt in (await api.job(name))["status"]["attempts"]]
        others = {(a["outcome"], a["reason"]) for a in attempts if a["outcome"] != "Succeeded"}
        assert others == {("Preempted", "GangIncomplete")}


async def _create(api: Api, name: str) -> None:
    tolerated = {"key": "only-for", "operator": "Equal", "value": name, "effect": "NoSchedule"}
    await api.create_job(
        name,
        model={"uri": "pvc://shared/model"},
        dataset={"train": {"uri": "pvc://shared/train.jsonl"}},
        training={"nodes": 2, "gpusPerNode": 1, "retries": {"max": 0}},
        storage={"claimName": "shared"},
        podTemplate={"tolerations": [tolerated]},
    )


@asynccontextmanager
async def _nodes(control_plane: ControlPlane) -> AsyncIterator[Api]:
    """Two nodes with a GPU each, the one for pods of the one job only."""
    configuration = await load_configuration({KUBECONFIG: str(control_plane.kubeconfig)})
    async with Api(configuration) as api:
        await api.install_crd()
        for name in NAMES:
            taint = {"key": "only-for", "value": name, "effect": "NoSchedule"}
            room = {
                "cpu": "64",
                "memory": "1Ti",
                "pods": "100",
                "ephemeral-storage": "1Ti",
                "nvidia.com/gpu": "1",
            }
            await api.request(
                "POST",
                "/api/v1/nodes",
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                    "spec": {"taints": [taint]},
                    "status": {"allocatable": room, "capacity": room},
                },
            )
        beats = asyncio.create_task(_beat(api))
        try:
            yield api
        finally:
            beats.cancel()
            with suppress(asyncio.CancelledError):
                await beats


async def _beat(api: Api) -> None:
    """Say that the nodes are alive, as kubelets do: pods get no node that is silent."""
    while True:
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for name in NAMES:
            await api.request(
                "PATCH",
                f"/api/v1/nodes/{name}/status",
                {"status": {"conditions": [ready]}},
                content="application/strategic-merge-patch+json",
            )
        await asyncio.sleep(5)


async def _until_each_holds_one(api: Api) -> None:
    async with asyncio.timeout(300):
        while True:
            pods = await api.items("/api/v1/pods?labelSelector=kubetune.dev%2Fstage%3Dtrain")
            placed = [
                p["metadata"]["labels"]["kubetune.dev/finetunejob"] for p in pods if p["spec"].get("nodeName")
            ]
            if sorted(placed) == sorted(NAMES):
                return
            await asyncio.sleep(0.2)


def _collection(manifest: Mapping[str, Any]) -> str:
    if manifest["kind"] == "PersistentVolume":
        return "/api/v1/persistentvolumes"
    return "/api/v1/namespaces/default/persistentvolumeclaims"
