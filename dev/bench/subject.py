"""Starts and stops the operator that is measured, as a user of its own that the audit log tells apart."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dev import paths
from dev.bench.machine import cpu_seconds, memory_mib
from dev.bench.operator_process import PODS_PORT, PROFILE
from dev.bench.workload import SETTINGS
from dev.cluster.control_plane import ControlPlane
from dev.cluster.pki import Identity
from dev.cluster.ports import free_ports
from dev.cluster.processes import Daemon
from dev.cluster.waiting import wait_for
from kubetune.cluster.kube.connection import KUBECONFIG
from kubetune.process.settings import PREFIX

USER: Final = "kubetune"

RIGHTS: Final[dict[str, Any]] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": USER},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}
"""By a binding, since the group system:masters is exempt from fair queuing, which an operator is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The operator's process."""

    daemon: Daemon

    @property
    def pid(self) -> int:
        """Its id; NotRunningError when it has ended."""
        self.daemon.check()
        pid = self.daemon.pid()
        assert pid is not None
        return pid

    @property
    def cpu(self) -> float:
        """Processor seconds since its start."""
        return cpu_seconds(self.pid)

    def memory(self, field: str = "VmRSS") -> float:
        """MiB."""
        return memory_mib(self.pid, field)

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()


def start_operator(control_plane: ControlPlane, *, pods_port: int, profile: Path | None = None) -> Subject:
    """Start the operator with the settings that the chart delivers, and return when it is ready."""
    metrics, health = free_ports(2)
    instance = control_plane.instance
    env = {
        KUBECONFIG: str(instance.kubeconfig(Identity(name=USER, user=USER))),
        PREFIX + "TRAINER_IMAGE": SETTINGS.trainer_image,
        PREFIX + "ALLOWED_ANNOTATIONS": '["*"]',  # by which simulated pods end
        PREFIX + "SERVING_IMAGE": SETTINGS.serving_image,
        PREFIX + "METRICS_PORT": str(metrics),
        PREFIX + "HEALTH_PORT": str(health),
        PODS_PORT: str(pods_port),
        "PYTHONPATH": str(paths.REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        **({PROFILE: str(profile)} if profile else {}),
    }
    argv = [sys.executable, "-m", "dev.bench.operator_process"]
    daemon = Daemon(name="operator", root=instance.root, argv=argv, env=env)
    daemon.ensure()

    def ready() -> bool:
        daemon.check()
        try:
            with _DIRECT.open(f"http://127.0.0.1:{health}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    wait_for("the operator", ready, seconds=180)
    return Subject(daemon=daemon)


_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever proxy the environment names, it is not for this machine."""
