"""A real API server as tests use it: raw requests, and a kubelet that only pretends to run pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from kubernetes.aio.client.configuration import Configuration

from dev.paths import REPOSITORY
from kubetune.cluster.kube.connection import new_session


class ApiError(Exception):
    """A response that is not 2xx."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:500]}")
        self.status = status
        self.body = body


class Api:
    """Raw requests to an API server."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = new_session(self._configuration)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        user: str | None = None,
        groups: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Send a request; path holds the query. With a user, as that user of these groups."""
        assert self._session
        told = [("Impersonate-Group", group) for group in groups] if user else []
        told += [("Impersonate-User", user)] if user else []
        async with self._session.request(
            method,
            self._configuration.host + path,
            data=None if body is None else json.dumps(body),
            headers=[("Content-Type", content), ("Accept", "application/json"), *told],
        ) as response:
            text = await response.text()
            if response.status >= 300:
                raise ApiError(response.status, text)
            answer: dict[str, Any] = json.loads(text)
            return answer

    async def install_crd(self) -> None:
        """Create the CustomResourceDefinition, and wait until it is served."""
        path = REPOSITORY / "crds" / "kubetune.dev_finetunejobs.yaml"
        definition = yaml.safe_load(path.read_text())
        await self.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        async with asyncio.timeout(60):
            while True:
                with suppress(ApiError):
                    await self.request("GET", "/apis/kubetune.dev/v1alpha1/finetunejobs")
                    return
                await asyncio.sleep(0.2)

    async def create_job(self, name: str, *, namespace: str = "default", **spec: Any) -> dict[str, Any]:
        """Create a small FineTuneJob."""
        manifest = {
            "apiVersion": "kubetune.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "model": {"uri": "pvc://models/smol"},
                "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
                "training": {"gpusPerNode": 0},
                **spec,
            },
        }
        path = f"/apis/kubetune.dev/v1alpha1/namespaces/{namespace}/finetunejobs"
        return await self.request("POST", path, manifest)

    async def job(self, name: str, *, namespace: str = "default") -> dict[str, Any]:
        """Read a FineTuneJob."""
        path = f"/apis/kubetune.dev/v1alpha1/namespaces/{namespace}/finetunejobs/{name}"
        return await self.request("GET", path)

    async def delete_job(self, name: str, *, namespace: str = "default") -> None:
        """Delete a FineTuneJob in the background."""
        path = f"/apis/kubetune.dev/v1alpha1/namespaces/{namespace}/finetunejobs/{name}"
        await self.request("DELETE", path, {"propagationPolicy": "Background"})

    async def items(self, path: str) -> list[dict[str, Any]]:
        """Items of a list."""
        answer = await self.request("GET", path)
        items: list[dict[str, Any]] = answer["items"]
        return items


def condition(raw: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """A condition of an object; empty when it has none."""
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == type_), {})


Script = Callable[[Mapping[str, Any]], tuple[int, str] | None]
"""Exit code and termination message of a pod; None lets it run on."""


@dataclass(slots=True, kw_only=True)
class FakeKubelet:
    """Marks pods as running and lets them end as a script says. There are no containers."""

    api: Api
    script: Script
    on_nodes: bool = False
    """Whether only those pods run that the scheduler gave a node; else there are no nodes."""
    starts: Callable[[Mapping[str, Any]], bool] = lambda _: True
    """Which pods are started at all."""

    period: float = 0.2
    ended: list[str] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            with suppress(ApiError, aiohttp.ClientError, TimeoutError):
                for pod in await self.api.items("/api/v1/pods"):
                    with suppress(ApiError):
                        await self._advance(pod)
            await asyncio.sleep(self.period)

    async def _advance(self, pod: Mapping[str, Any]) -> None:
        phase = pod["status"].get("phase")
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        if phase in ("Succeeded", "Failed"):
            return
        if pod["metadata"].get("deletionTimestamp"):
            await self.request_delete(path)
            return
        if phase == "Pending":
            if (self.on_nodes and not pod["spec"].get("nodeName")) or not self.starts(pod):
                return
            await self._patch(path, _running(pod))
            return
        outcome = self.script(pod)
        if outcome is not None:
            self.ended.append(pod["metadata"]["name"])
            await self._patch(path, _ended(pod, *outcome))

    async def request_delete(self, path: str) -> None:
        """What a kubelet does when a deleted pod's containers are gone."""
        await self.api.request("DELETE", path, {"gracePeriodSeconds": 0})

    async def _patch(self, path: str, status: Mapping[str, Any]) -> None:
        content = "application/strategic-merge-patch+json"
        await self.api.request("PATCH", f"{path}/status", {"status": status}, content=content)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _containers(pod: Mapping[str, Any], state: Mapping[str, Any], *, ready: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "restartCount": 0,
            "ready": ready,
            "state": state,
        }
        for container in pod["spec"]["containers"]
    ]


def _running(pod: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "phase": "Running",
        "startTime": _now(),
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": _now()}],
        "containerStatuses": _containers(pod, {"running": {"startedAt": _now()}}, ready=True),
    }


def _ended(pod: Mapping[str, Any], code: int, message: str) -> dict[str, Any]:
    state = {
        "terminated": {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "message": message,
            "startedAt": _now(),
            "finishedAt": _now(),
        }
    }
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": _now()}],
        "containerStatuses": _containers(pod, state, ready=False),
    }
