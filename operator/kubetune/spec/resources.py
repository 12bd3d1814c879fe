"""Resources of prepare, training and serving containers, defaults resolved. Pure.

Every container has requests: Kueue counts them, quotas ask for them, and a pod without any is evicted first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.resources import Resources
from ..vocabulary.quantities import amount_of
from .settings import JobSettings

ContainerResources = dict[str, dict[str, str]]

_PREPARE: Final = {"cpu": "500m", "ephemeral-storage": "1Gi", "memory": "1Gi"}
_PREPARE_MEMORY_LIMIT: Final = "16Gi"
"""Its files come from strangers: what they take in memory must not become the node's trouble."""

_EVALUATOR: Final = {"cpu": "100m", "ephemeral-storage": "1Gi", "memory": "512Mi"}
"""It waits for servers most of the time, on their own node."""
_EVALUATOR_MEMORY_LIMIT: Final = "4Gi"
_DEFAULT: Final = {"cpu": "1", "memory": "4Gi"}
_CPUS_PER_GPU: Final = 2
_GIB_PER_GPU: Final = 12
"""What the smallest nodes with one GPU can give, and nodes with eight have many times over."""

_CPU_MEMORY_LIMIT: Final = "4Gi"
"""Without GPUs the model lives in the container's memory: with a limit, running out of it shows."""

_SERVING_MEMORY_LIMIT: Final = "8Gi"
"""vLLM needs about 3 GiB beside the model, whose weights take 4 bytes each on CPU."""


def training_resources(job: FineTuneJob, settings: JobSettings) -> ContainerResources:
    """Resources of one training container."""
    training = job.spec.trains
    return _resolve(
        training.resources, gpus=training.gpus_per_node, settings=settings, memory_limit=_CPU_MEMORY_LIMIT
    )


def serving_gpus(job: FineTuneJob, planned: int = 0) -> int:
    """GPUs of one server; ``planned`` are those that prepare found it to need, 0 where it said nothing."""
    asked = job.spec.serving.gpus if job.spec.serving else None
    return gpus_of_server(asked, planned, job.spec.trains.gpus_per_node)


def gpus_of_server(asked: int | None, planned: int, gpus_per_node: int) -> int:
    """The same, by what ``serving.gpus`` and ``training.gpusPerNode`` say."""
    if asked is not None:
        return asked
    return max(1, planned) if gpus_per_node > 0 else 0


def serving_resources(job: FineTuneJob, settings: JobSettings, planned: int = 0) -> ContainerResources:
    """Resources of one server."""
    given = job.spec.serving.resources if job.spec.serving else None
    return _resolve(
        given, gpus=serving_gpus(job, planned), settings=settings, memory_limit=_SERVING_MEMORY_LIMIT
    )


def prepare_resources(job: FineTuneJob, settings: JobSettings) -> ContainerResources:
    """Resources of prepare: little, no GPU, and at most what training.resources let a training pod use."""
    return _little(job, settings, _PREPARE, memory_limit=_PREPARE_MEMORY_LIMIT)


def evaluator_resources(job: FineTuneJob, settings: JobSettings) -> ContainerResources:
    """Resources of the evaluator: still less."""
    return _little(job, settings, _EVALUATOR, memory_limit=_EVALUATOR_MEMORY_LIMIT)


def _little(
    job: FineTuneJob, settings: JobSettings, little: Mapping[str, str], *, memory_limit: str
) -> ContainerResources:
    """So much of what training.resources name: a quota refuses pods that do not name what it counts."""
    training = training_resources(job, settings)
    asked, most = training.get("requests", {}), training.get("limits", {})
    limits = {"memory": memory_limit} | {resource: most[resource] for resource in little if resource in most}
    requests = {
        resource: min(amount, limits.get(resource, amount), key=amount_of)
        for resource, amount in little.items()
        if resource in asked
    }
    return {"limits": dict(sorted(limits.items())), "requests": requests}


def _resolve(
    given: Resources | None, *, gpus: int, settings: JobSettings, memory_limit: str
) -> ContainerResources:
    default = _DEFAULT
    if gpus:
        default = {"cpu": str(gpus * _CPUS_PER_GPU), "memory": f"{gpus * _GIB_PER_GPU}Gi"}
    limits = dict(given.limits or {}) if given else {}
    requests = limits | (dict(given.requests or {}) if given else {})
    if gpus:
        limits[settings.gpu_resource] = str(gpus)
        requests[settings.gpu_resource] = limits[settings.gpu_resource]
    if given is None:
        requests = default | requests
        limits |= {} if gpus else {"memory": memory_limit}
    for resource, least in default.items():
        requests.setdefault(resource, min(least, limits.get(resource, least), key=amount_of))
    resolved = {"limits": limits, "requests": requests}
    return {kind: dict(sorted(amounts.items())) for kind, amounts in resolved.items() if amounts}
