"""A fresh control plane with nodes that KWOK plays, the CRD and namespaces: where one run is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dev import paths
from dev.bench import audit, workload
from dev.bench.client import Client, collection, for_each
from dev.bench.kwok import start_kwok
from dev.bench.machine import cores, cpu_seconds, on_core
from dev.bench.pods import answering_pods
from dev.bench.subject import RIGHTS, Subject, start_operator
from dev.cluster import ports, processes
from dev.cluster.control_plane import ControlPlane
from dev.cluster.processes import Daemon

_QPS: Final = 500
"""At the delivered 20 requests per second, the Job controller's limit would be all that is measured."""

_GENEROUS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Where one run is measured."""

    control_plane: ControlPlane
    client: Client
    namespaces: tuple[str, ...]
    kwok: Daemon
    pods_port: int

    def operator(self, *, profile: Path | None = None) -> Subject:
        """Start the operator."""
        return start_operator(self.control_plane, pods_port=self.pods_port, profile=profile)

    def api_cpu(self) -> float:
        """Processor seconds of API server and etcd so far."""
        root = self.control_plane.instance.root
        pids = [pid for pid in processes.marked(root) if ports.program(pid) in ("etcd", "kube-apiserver")]
        return cpu_seconds(*pids)

    def position(self) -> int:
        """Where the audit log ends now."""
        return self.control_plane.audit_log.stat().st_size

    def requests(self, *, start: int = 0) -> Iterator[audit.Request]:
        """Return what was asked of the API server, from a position of the audit log on."""
        return audit.read(self.control_plane.audit_log, start=start)

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Post an object."""
        return await self.client.request("POST", collection(manifest), manifest)

    async def settle(self) -> None:
        """Return when the controllers have nothing more to write."""
        quiet = 0
        while quiet < 3:
            start = self.position()
            await asyncio.sleep(1)
            # Leases of nodes are renewed for ever.
            writes = [r for r in self.requests(start=start) if r.is_write and r.resource != "leases"]
            quiet = 0 if writes else quiet + 1


@asynccontextmanager
async def rig(*, namespaces: int, pod_seconds: float = 1.0) -> AsyncIterator[Rig]:
    """Build it, and remove all of it afterwards. Control plane on one core, everything else on another."""
    split = cores()
    names = tuple(f"team-{number:04}" for number in range(namespaces))
    with ExitStack() as stack:
        stack.enter_context(on_core(split.others))
        pods_port = stack.enter_context(answering_pods())
        with on_core(split.control_plane):
            control_plane = stack.enter_context(ControlPlane.temporary(client_qps=_QPS))
        kwok = start_kwok(control_plane, pod_seconds=pod_seconds)
        async with Client(control_plane.kubeconfig) as client:
            made = Rig(
                control_plane=control_plane, client=client, namespaces=names, kwok=kwok, pods_port=pods_port
            )
            await _furnish(made)
            yield made


async def _furnish(made: Rig) -> None:
    definition = yaml.safe_load((paths.REPOSITORY / "crds" / "kubetune.dev_finetunejobs.yaml").read_text())
    await for_each([definition, RIGHTS, *workload.nodes()], made.create)
    await for_each(map(workload.namespace, made.namespaces), made.create)
    claims = [manifest for name in made.namespaces for manifest in workload.claim(name)]
    await for_each(claims, made.create)
    client, wanted = made.client, len(made.namespaces)

    async def furnished() -> bool:
        made.kwok.check()
        nodes = await client.items("/api/v1/nodes")
        bound = await client.items("/api/v1/persistentvolumeclaims")
        accounts = await client.items("/api/v1/serviceaccounts?fieldSelector=metadata.name%3Ddefault")
        served = await client.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        return (
            all(_is(node, "Ready") for node in nodes)
            and sum(claim["status"]["phase"] == "Bound" for claim in bound) == wanted
            and len({account["metadata"]["namespace"] for account in accounts}) >= wanted
            and all(_is(each, "Established") for each in served)
        )

    await client.until("nodes, claims and accounts", furnished, seconds=_GENEROUS)
    await made.settle()


def _is(raw: Mapping[str, Any], condition: str) -> bool:
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)
