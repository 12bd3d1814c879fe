"""Runs KWOK beside a control plane without nodes: it plays nodes and pods by the thousand, for benchmarks."""

from pathlib import Path

from dev.cluster import binaries
from dev.cluster.control_plane import ControlPlane
from dev.cluster.processes import Daemon

_PACKAGE = "sigs.k8s.io/kwok/cmd/kwok"
_VERSION = "v0.8.0"


def build_kwok() -> Path:
    """Return KWOK's program, built if need be: about two minutes."""
    return binaries.ensure_module(_PACKAGE, _VERSION)


def ensure_kwok(control_plane: ControlPlane) -> None:
    """Start KWOK unless it runs. It plays every node that somebody creates, and the pods on it."""
    argv: list[str | Path] = [
        build_kwok(),
        f"--kubeconfig={control_plane.kubeconfig}",
        "--manage-all-nodes=true",
    ]
    Daemon(name="kwok", root=control_plane.instance.root, argv=argv).ensure()
