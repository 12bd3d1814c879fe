"""Runs KWOK beside a control plane without nodes: it plays nodes and pods by the thousand, for benchmarks."""

import string
from pathlib import Path

from dev.cluster import binaries
from dev.cluster.control_plane import ControlPlane
from dev.cluster.files import ensure_file
from dev.cluster.processes import Daemon

_PACKAGE = "sigs.k8s.io/kwok/cmd/kwok"
_VERSION = "v0.8.0"
_STAGES = Path(__file__).parent / "manifests" / "kwok-stages.yaml"
_LEASE_SECONDS = 40  # kubelet's own; without leases the nodes are taken for dead after a while


def build_kwok() -> Path:
    """Return KWOK's program, built if need be: about two minutes."""
    return binaries.ensure_module(_PACKAGE, _VERSION)


def ensure_kwok(control_plane: ControlPlane, *, pod_seconds: float = 5) -> None:
    """Start KWOK unless it runs. It plays every node that somebody creates, and the pods on it.

    Pods of Jobs succeed after `pod_seconds`; other pods run until they are deleted.
    """
    root = control_plane.instance.root
    stages = string.Template(_STAGES.read_text()).substitute(milliseconds=int(pod_seconds * 1000))
    config = ensure_file(root / "kwok.yaml", stages)
    argv: list[str | Path] = [
        build_kwok(),
        f"--kubeconfig={control_plane.kubeconfig}",
        f"--config={config}",
        "--manage-all-nodes",
        "--node-ip=10.0.0.1",  # no node is there to be reached
        "--v=WARN",  # else it logs every step of every pod
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
    ]
    Daemon(name="kwok", root=root, argv=argv, reads=[config]).ensure()
