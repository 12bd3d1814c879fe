"""Makes the node say that it has GPUs which it has not: enough to try what is scheduled where."""

import json

from dev.cluster.node import NODE_NAME
from dev.kubectl import Kubectl

RESOURCE = "nvidia.com/gpu"


def set_fake_gpus(kubectl: Kubectl, count: int, *, node: str = NODE_NAME) -> None:
    """Give the node this many GPUs; kubelet leaves resources alone that it does not know."""
    amount = {RESOURCE: str(count) if count else None}  # null removes it
    patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
    kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)
