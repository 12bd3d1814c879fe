"""Runs KWOK with stages of its own: pods end with the messages that the trainer's containers leave behind."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Final

from dev.bench.workload import PREPARED, TRAINED, TRAINED_BESIDE
from dev.cluster.control_plane import ControlPlane
from dev.cluster.files import ensure_file
from dev.cluster.kwok import build_kwok
from dev.cluster.pki import Identity
from dev.cluster.processes import Daemon

USER: Final = "kwok"
ENDS_AT: Final = "bench/ends-at"
"""Annotation of a prepare pod: when it ends, instead of so long after its start."""

FINISHED: Final = "bench/finished"
"""Annotation of a pod that is made as one that has ended: KWOK leaves it alone."""

_MANIFEST: Final = Path(__file__).parent / "manifests" / "kwok.yaml"
_LEASE_SECONDS: Final = 40
"""The kubelet's own; without leases the nodes are taken for dead after a while."""


def start_kwok(control_plane: ControlPlane, *, pod_seconds: float) -> Daemon:
    """Play every node that is created, and its pods: trainer pods succeed after so many seconds."""
    instance = control_plane.instance
    text = string.Template(_MANIFEST.read_text()).substitute(
        milliseconds=int(pod_seconds * 1000),
        annotation_ends_at=ENDS_AT,
        annotation_finished=FINISHED,
        prepared=json.dumps(PREPARED),
        trained=json.dumps(TRAINED),
        trained_beside=json.dumps(TRAINED_BESIDE),
    )
    config = ensure_file(instance.root / "kwok.yaml", text)
    identity = Identity(name=USER, user=USER, group="system:masters")
    argv: list[str | Path] = [
        build_kwok(),
        f"--kubeconfig={instance.kubeconfig(identity)}",
        f"--config={config}",
        "--manage-all-nodes",
        "--node-ip=10.0.0.1",  # no node is there to be reached
        "--v=WARN",  # else it logs every step of every pod
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
    ]
    daemon = Daemon(name="kwok", root=instance.root, argv=argv, reads=[config])
    daemon.ensure()
    return daemon
