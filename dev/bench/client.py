"""Raw requests to an API server, many at a time: what a benchmark itself creates and waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
from kubernetes.aio.client.configuration import Configuration

from dev.errors import DevError
from kubetune.cluster.kube.connection import KUBECONFIG, load_configuration, new_session

Item = TypeVar("Item")
MERGE: Final = "application/merge-patch+json"
_PARALLEL: Final = 32
"""Requests at a time: the API server is busy with few already."""


class RequestError(DevError):
    """An answer that is not 2xx."""


class Client:
    """An API server, as the user of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._configuration: Configuration | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._configuration = await load_configuration({KUBECONFIG: str(self._kubeconfig)})
        self._session = new_session(self._configuration)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json"
    ) -> dict[str, Any]:
        """Send one request; the path holds the query."""
        if self._session is None or self._configuration is None:
            raise RuntimeError("the client is not open")
        async with self._session.request(
            method,
            self._configuration.host + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content, "Accept": "application/json"},
        ) as response:
            text = await response.text()
            if response.status >= 300:
                raise RequestError(f"{method} {path}: {response.status} {text[:500]}")
            answer: dict[str, Any] = json.loads(text)
            return answer

    async def items(self, path: str) -> list[dict[str, Any]]:
        """Return the items of a list, as the watch cache has them."""
        query = "&" if "?" in path else "?"
        answer = await self.request("GET", f"{path}{query}resourceVersion=0")
        return list(answer["items"])

    async def until(
        self, what: str, look: Callable[[], Awaitable[bool]], *, seconds: float, period: float = 1.0
    ) -> None:
        """Look every so often until it is true; DevError when that takes too long."""
        try:
            async with asyncio.timeout(seconds):
                while not await look():  # noqa: ASYNC110 - nothing would set an event
                    await asyncio.sleep(period)
        except TimeoutError:
            raise DevError(f"Waited {seconds:.0f} s for this, in vain: {what}") from None


async def for_each(items: Iterable[Item], do: Callable[[Item], Awaitable[object]]) -> None:
    """Do something with all items, some at a time."""
    slots = asyncio.Semaphore(_PARALLEL)

    async def one(item: Item) -> None:
        async with slots:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


def collection(manifest: Mapping[str, Any]) -> str:
    """Return the path that a manifest is posted to."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = manifest["metadata"].get("namespace")
    return f"{root}/{f'namespaces/{namespace}/' if namespace else ''}{_PLURALS.get(kind, kind.lower() + 's')}"


_PLURALS: Final = {"StorageClass": "storageclasses"}
