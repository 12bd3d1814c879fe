"""A label by which the watches select, edited on a real API server: to a watch the child is deleted then."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.control_plane import ControlPlane
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration
from tests.support import messages
from tests.support.apiserver import Api, ApiError, FakeKubelet, condition
from tests.support.operator_process import operator_process

pytestmark = pytest.mark.apiserver

SETTINGS = {"KUBETUNE_TRAINER_IMAGE": "trainer:1", "KUBETUNE_SERVING_IMAGE": "serving:1"}
TRAINING = "/apis/batch/v1/namespaces/default/jobs/lost-train-1"
LABELS = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}


async def test_a_training_job_with_an_edited_label_is_followed_and_not_made_twice(tmp_path: Path) -> None:
    done = asyncio.Event()

    def script(pod: Mapping[str, Any]) -> tuple[int, str] | None:
        if pod["metadata"]["labels"]["kubetune.dev/stage"] == "prepare":
            return 0, messages.prepared()
        return (0, messages.trained()) if done.is_set() else None

    with ControlPlane.temporary() as plane:
        configuration = await load_configuration({KUBECONFIG: str(plane.kubeconfig)})
        async with Api(configuration) as api, FakeKubelet(api=api, script=script):
            await api.install_crd()
            with operator_process(plane.kubeconfig, SETTINGS, log=tmp_path / "operator.log") as operator:
                async with asyncio.timeout(60):
                    while not await asyncio.to_thread(operator.ready):  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
                await api.create_job("lost")
                await _until_running(api)
                content = "application/merge-patch+json"
                await api.request("PATCH", TRAINING, LABELS, content=content)
                before = _requests(plane)
                await asyncio.sleep(12)
                asked = _requests(plane) - before
                said = condition(await api.job("lost"), "Reconciling")["message"]
                done.set()
                async with asyncio.timeout(60):
                    while condition(await api.job("lost"), "Ready").get("status") != "True":  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
                jobs = await api.items("/apis/batch/v1/namespaces/default/jobs")
        assert sorted(job["metadata"]["name"] for job in jobs) == ["lost-prepare", "lost-train-1"]
        assert 1 <= asked["get", "jobs"] < 10
        assert asked["get", "finetunejobs"] == 0
    assert "Job lost-train-1 has lost the label app.kubernetes.io/managed-by=kubetune" in said


async def _until_running(api: Api) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await api.request("GET", TRAINING))["status"].get("ready"):
                    return
            except ApiError as error:
                assert error.status == 404  # noqa: PT017 - it comes
            await asyncio.sleep(0.2)


def _requests(plane: ControlPlane) -> Counter[tuple[str, str]]:
    """What the operator has asked for, by verb and resource."""
    entries = map(json.loads, plane.audit_log.read_text().splitlines())
    return Counter(
        (entry["verb"], entry["objectRef"]["resource"])
        for entry in entries
        if "objectRef" in entry and "kubetune" in entry.get("userAgent", "")
    )
