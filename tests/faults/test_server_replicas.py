"""Who owns a server's replicas, on a real API server: ours when the spec says them, else an autoscaler's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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
APPS = "/apis/apps/v1/namespaces/default/deployments"
JOBS = "/apis/kubetune.dev/v1alpha1/namespaces/default/finetunejobs"
MERGE = "application/merge-patch+json"
AUTOSCALER: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "served"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "served"},
        "minReplicas": 1,
        "maxReplicas": 5,
    },
}


async def test_replicas_belong_to_an_autoscaler_unless_the_spec_says_them(tmp_path: Path) -> None:
    with ControlPlane.temporary() as plane:
        configuration = await load_configuration({KUBECONFIG: str(plane.kubeconfig)})
        async with Api(configuration) as api, FakeKubelet(api=api, script=messages.ends_well):
            await api.install_crd()
            with operator_process(plane.kubeconfig, SETTINGS, log=tmp_path / "operator.log") as operator:
                async with asyncio.timeout(60):
                    while not await asyncio.to_thread(operator.ready):  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
                await api.create_job("served", serving={})
                await _until(lambda: _replicas(api), 1)
                path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
                await api.request("POST", path, AUTOSCALER)

                # Left out: what the scale subresource says stays, also when something else is edited.
                await _scale(api, 3)
                await _edit(api, {"engineArgs": {"max-model-len": "512"}})
                await _until(lambda: _length(api), "512")
                assert await _replicas(api) == 3

                # Said: ours, and who changes it again and again is named.
                await _edit(api, {"replicas": 2})
                await _until(lambda: _replicas(api), 2)
                async with asyncio.timeout(60):
                    while not await _is_named(api):
                        await _scale(api, 4)
                        await asyncio.sleep(0.2)
                await _until(lambda: _replicas(api), 2)

                # Left out again: it stays as it was, and others may change it.
                await _edit(api, {"replicas": None, "engineArgs": {"max-model-len": "1024"}})
                await _until(lambda: _length(api), "1024")
                assert await _replicas(api) == 2
                await _scale(api, 5)
                await _edit(api, {"engineArgs": {"max-model-len": "2048"}})
                await _until(lambda: _length(api), "2048")
                assert await _replicas(api) == 5


async def _until(look: Callable[[], Awaitable[object]], value: object) -> None:
    async with asyncio.timeout(60):
        while await look() != value:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _replicas(api: Api) -> int | None:
    try:
        found: int = (await api.request("GET", f"{APPS}/served"))["spec"]["replicas"]
    except ApiError:
        return None
    return found


async def _length(api: Api) -> str:
    container = (await api.request("GET", f"{APPS}/served"))["spec"]["template"]["spec"]["containers"][0]
    args = dict(zip(container["args"], container["args"][1:], strict=False))
    return str(args.get("--max-model-len"))


async def _scale(api: Api, replicas: int) -> None:
    """What the autoscaler's controller does."""
    path = f"{APPS}/served/scale?fieldManager=kube-controller-manager"
    await api.request("PATCH", path, {"spec": {"replicas": replicas}}, content=MERGE)


async def _edit(api: Api, serving: dict[str, Any]) -> None:
    await api.request("PATCH", f"{JOBS}/served", {"spec": {"serving": serving}}, content=MERGE)


async def _is_named(api: Api) -> bool:
    told = condition(await api.job("served"), "Reconciling")
    said = "kube-controller-manager changes replicas of Deployment served again and again"
    return told.get("reason") == "ChangedByOthers" and said in told["message"]
