"""Owns what it means that the cluster is ready."""

from dev.cluster import processes
from dev.cluster.addons import STORAGE_CLASSES
from dev.cluster.control_plane import ControlPlane
from dev.cluster.network import NODE_ADDRESS
from dev.cluster.node import DNS_ADDRESS, NODE_NAME
from dev.cluster.probes import resolves
from dev.cluster.waiting import NotReadyError, wait_for
from dev.kubectl import Kubectl

_API_NAME = "kubernetes.default.svc.cluster.local"


def wait_ready(control_plane: ControlPlane, kubectl: Kubectl, *, seconds: float = 120) -> None:
    """Return when the cluster can run a pod that needs names and volumes."""
    try:
        _wait(control_plane, kubectl, seconds=seconds)
    except NotReadyError as error:
        pods = kubectl("get", "pods", "--all-namespaces", "-o", "wide")
        logs = control_plane.instance.root / "logs"
        raise NotReadyError(f"{error}; the programs' logs are in {logs}, the pods are:\n{pods}") from None


def _wait(control_plane: ControlPlane, kubectl: Kubectl, *, seconds: float) -> None:
    control_plane.wait_until_ready(seconds=seconds)
    wait_for(f"node {NODE_NAME} to be Ready", lambda: _node_is_ready(kubectl), seconds=seconds, every=0.5)
    wait_for(f"{_API_NAME} to resolve through {DNS_ADDRESS}", _names_resolve, seconds=seconds)
    processes.check_all(control_plane.instance.root)
    for name in STORAGE_CLASSES:
        kubectl("get", "storageclass", name)  # an error when it is missing


def _names_resolve() -> bool:
    return resolves(_API_NAME, server=DNS_ADDRESS, source=NODE_ADDRESS)


def _node_is_ready(kubectl: Kubectl) -> bool:
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl("get", "nodes", NODE_NAME, "--ignore-not-found", "-o", f"jsonpath={condition}") == "True"
