"""What is wrong with an attempt that runs: what it says itself, and a network that it does not use. Pure."""

from __future__ import annotations

import re
from typing import Final

from kubetune_trainer.contract.messages import SOCKETS, Progress

from ..api.v1alpha1 import FineTuneJob
from ..vocabulary.quantities import amount_of

_RDMA: Final = re.compile(r"(?:^|[^a-z])(?:rdma|efa|roce|hca|infiniband|mlnx|hostdev|ib(?![a-z]))")
"""In names of resources: rdma/hca_shared_devices_a, vpc.amazonaws.com/efa, nvidia.com/mlnx_rdma_pf."""


def warnings_of(job: FineTuneJob, progress: Progress) -> tuple[str, ...]:
    """Say it in sentences; gradients over TCP beside idle RDMA devices are far slower."""
    return tuple(filter(None, (unused_rdma(job, progress.transport), *progress.warnings)))


def unused_rdma(job: FineTuneJob, transport: str | None) -> str | None:
    """Warn of several nodes that talk over sockets although their pods asked for RDMA devices."""
    resources = rdma_resources(job)
    if job.spec.trains.nodes < 2 or not resources or transport is None or SOCKETS not in transport:
        return None
    return (
        f"Gradients travel between nodes over TCP (NCCL chose sockets), and {' and '.join(resources)} in "
        "training.resources is unused. Look for the devices (/dev/infiniband) in the pod, for the node's "
        "memlock limit, and for NCCL_IB_DISABLE; docs/how-to/install-on-a-gpu-cluster.md says how."
    )


def rdma_resources(job: FineTuneJob) -> list[str]:
    """Names of the RDMA devices that one training pod asks for."""
    given = job.spec.trains.resources
    amounts = {**(given.requests or {}), **(given.limits or {})} if given else {}
    return sorted(
        name for name, amount in amounts.items() if amount_of(amount) and _RDMA.search(name.lower())
    )
