"""What a thousand finished jobs cost: memory, requests while nothing happens, and writes after a restart.

One job is run; the others are copies of what it left: FineTuneJob, ConfigMap, Service, claim, both Jobs and
all five pods, each with its status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dev.bench import kwok, subject, workload
from dev.bench.audit import Request, count
from dev.bench.burst import FINETUNEJOBS
from dev.bench.client import collection, for_each
from dev.bench.figures import Figure
from dev.bench.rig import Rig, rig
from dev.bench.writes import own_writes, run_one
from dev.progress import note, step

PART: Final = "idle"
MEMORY: Final = 180
_SETTLED: Final = 10.0
"""Seconds after its readiness in which the operator has looked at every job."""

_CONTROLLER: Final = "bench.kubetune.dev/nobody"
"""Jobs that name another controller are left alone by the real one, which would run them again."""

_CHILDREN: Final = ("configmaps", "services", "persistentvolumeclaims")
_GENERATED: Final = ("controller-uid", "job-name")
"""Labels that the API server gives to a Job's pods, with and without a prefix."""

_NAMESPACE: Final = "finished"

Raw = dict[str, Any]


def measure(*, finished: int, seconds: float) -> list[Figure]:
    """Make the jobs, start the operator beside them, and wait."""
    return asyncio.run(_measure(finished, seconds))


async def _measure(finished: int, seconds: float) -> list[Figure]:
    async with rig(namespaces=1) as made:
        with step("Run the job that the others are copies of"):
            first = made.operator()
            await run_one(made)
            first.stop()
        with step(f"Make {finished} finished jobs"):
            await _copies(made, finished)
            await made.settle()
        with step(f"Start the operator and watch it for {seconds:.0f} s"):
            start, clock = made.position(), time.monotonic()
            operator = made.operator()
            ready = time.monotonic() - clock
            await asyncio.sleep(_SETTLED)
            idle, cpu = made.position(), operator.cpu
            await asyncio.sleep(seconds)
            cpu = operator.cpu - cpu
            memory, peak = operator.memory(), operator.memory("VmHWM")
            requests = [r for r in made.requests(start=idle) if r.user == subject.USER]
            writes = list(own_writes(made.requests(start=start)))
        operator.stop()
    others = [r for r in requests if not _is_expected(r)]
    note(f"   requests while idle: {count(requests)}, writes: {count(writes)}")
    many = f"{finished} finished jobs, {7 * finished} Jobs and pods"
    return [
        Figure(part=PART, name="memory (RSS)", value=memory, unit="MiB", bar=MEMORY, note=many),
        Figure(part=PART, name="memory at its highest", value=peak, unit="MiB", note=many),
        Figure(
            part=PART,
            name=f"requests in {seconds:.0f} s, relist, watches and Lease aside",
            value=len(others),
            unit="",
            bar=0,
            note=str(count(others) or ""),
        ),
        Figure(part=PART, name="writes after a restart", value=len(writes), unit="", bar=0),
        Figure(part=PART, name="start to ready", value=ready, unit="s", note=many),
        Figure(part=PART, name="operator CPU in a minute", value=60_000 * cpu / seconds, unit="ms"),
    ]


def _is_expected(request: Request) -> bool:
    # Of all namespaces at once; lists in pages are those from which kopf's watches start.
    relist = request.verb == "list" and not request.namespace and "limit=" not in request.uri
    return relist or request.verb == "watch" or request.resource == "leases"


async def _copies(made: Rig, count: int) -> None:
    """Create the jobs with all that one job left."""
    await made.create(workload.namespace(_NAMESPACE))
    source = f"namespaces/{made.namespaces[0]}"
    job = (await made.client.items(FINETUNEJOBS))[0]
    bare = [
        raw | {"apiVersion": "v1", "kind": kind}
        for plural, kind in zip(_CHILDREN, ("ConfigMap", "Service", "PersistentVolumeClaim"), strict=True)
        for raw in await made.client.items(f"/api/v1/{source}/{plural}")
        if raw["metadata"]["name"].startswith(f"{workload.JOB}-")
    ]
    jobs = await made.client.items(f"/apis/batch/v1/{source}/jobs")
    pods = await made.client.items(f"/api/v1/{source}/pods")

    async def one(number: int) -> None:
        name = f"{workload.JOB}{number:05}"
        owner = await _create(made, _copy(job | _FINETUNEJOB, name), status=job["status"])
        for raw in bare:
            await made.create(_owned(_copy(raw, name), owner))
        for raw in jobs:
            copy = _owned(_copy(raw | _JOB, name), owner)
            spec = copy["spec"]
            spec["managedBy"] = _CONTROLLER
            del spec["selector"]
            spec["template"]["metadata"]["labels"] = _own(spec["template"]["metadata"]["labels"])
            parent = await _create(made, copy, status=raw["status"])
            for pod in pods:
                if _controller(pod)["uid"] == raw["metadata"]["uid"]:
                    await _create(made, _ended_pod(pod, name, parent), status=pod["status"])

    await for_each(range(count), one)


_FINETUNEJOB: Final = {"apiVersion": "kubetune.dev/v1alpha1", "kind": "FineTuneJob"}
_JOB: Final = {"apiVersion": "batch/v1", "kind": "Job"}
_POD: Final = {"apiVersion": "v1", "kind": "Pod"}


async def _create(made: Rig, manifest: Raw, *, status: Any) -> Raw:
    """Create an object, then write its status, which a creation leaves out."""
    created = await made.create(manifest)
    path = f"{collection(manifest)}/{manifest['metadata']['name']}/status"
    return await made.client.request("PUT", path, created | {"status": status})


def _copy(raw: Raw, name: str) -> Raw:
    """Return what a user or controller would post, under another job's name."""
    meta = raw["metadata"]
    labels = dict(meta.get("labels") or {})
    if "kubetune.dev/finetunejob" in labels:
        labels["kubetune.dev/finetunejob"] = name
    copy = {key: value for key, value in raw.items() if key != "status"}
    copy["metadata"] = {
        "name": name + meta["name"].removeprefix(workload.JOB),
        "namespace": _NAMESPACE,
        "labels": labels,
        "annotations": dict(meta.get("annotations") or {}),
    }
    if "spec" in copy:
        ours = ("clusterIPs", "volumeName")
        copy["spec"] = {key: value for key, value in copy["spec"].items() if key not in ours}
    return copy


def _owned(raw: Raw, owner: Raw) -> Raw:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    return raw | {"metadata": raw["metadata"] | {"ownerReferences": [reference]}}


def _ended_pod(raw: Raw, name: str, parent: Raw) -> Raw:
    copy = _owned(_copy(raw | _POD, name), parent)
    copy["metadata"]["labels"] = _own(copy["metadata"]["labels"])
    copy["metadata"]["annotations"] |= {kwok.FINISHED: "true"}
    return copy


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key.rpartition("/")[2] not in _GENERATED}


def _controller(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    references: Iterable[Mapping[str, Any]] = raw["metadata"]["ownerReferences"]
    return next(reference for reference in references if reference.get("controller"))
