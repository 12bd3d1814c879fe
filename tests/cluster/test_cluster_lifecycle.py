"""The local cluster itself: a second `up` changes nothing, and repairs what has died.

That everything dies at once is tried in test_up_after_a_kill.py, after all others. That `down` leaves nothing
is not tried here, since the other tests share the cluster: `make clean-cluster` checks it.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from dev import paths
from dev.cluster import leftovers, processes, procfs
from dev.cluster.kubeconfig import local_kubeconfig
from dev.cluster.up import up
from dev.kubectl import Kubectl
from dev.target import kubectl_of

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def kubectl() -> Kubectl:
    up()
    return kubectl_of(local_kubeconfig())


def programs() -> dict[int, int | None]:
    """The cluster's processes with their start times."""
    return {pid: procfs.start_time(pid) for pid in processes.marked(paths.cluster_state())}


def claim(name: str, storage_class: str, mode: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": [mode],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }


def test_a_second_up_starts_and_changes_nothing(kubectl: Kubectl) -> None:
    before, version = programs(), kubectl.get("deployment", "coredns", "-n", "kube-system")["metadata"]

    up()

    assert before.items() <= programs().items()
    after = kubectl.get("deployment", "coredns", "-n", "kube-system")["metadata"]
    assert after["generation"] == version["generation"]


@pytest.mark.parametrize("name", ["kube-scheduler", "containerd", "local-provisioner"])
@pytest.mark.usefixtures("kubectl")
def test_up_restarts_what_has_died(name: str) -> None:
    before = processes.find(paths.cluster_state(), name)
    assert before is not None
    processes.send(paths.cluster_state(), name, signal.SIGKILL)

    up()

    assert processes.find(paths.cluster_state(), name) not in (before, None)


@pytest.mark.parametrize(
    ("storage_class", "mode"),
    [("local", "ReadWriteMany"), ("local", "ReadWriteOnce"), ("local-rwo", "ReadWriteOnce")],
)
def test_claims_are_bound(kubectl: Kubectl, storage_class: str, mode: str) -> None:
    wanted = claim("bound", storage_class, mode)
    kubectl.apply(wanted)
    try:
        kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/bound", "--timeout=60s")
    finally:
        kubectl("delete", "pvc", "bound")


def test_storage_for_one_node_refuses_to_be_shared(kubectl: Kubectl) -> None:
    kubectl.apply(claim("shared", "local-rwo", "ReadWriteMany"))
    try:
        deadline = time.monotonic() + 60
        while not (events := refusals(kubectl, "shared")) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert "does not support access modes" in events[0]["message"]
    finally:
        kubectl("delete", "pvc", "shared")


def refusals(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    selector = f"involvedObject.name={name},reason=ProvisioningFailed"
    return list(kubectl.get("events", "-n", "default", "--field-selector", selector)["items"])


@pytest.mark.usefixtures("kubectl")
def test_a_running_cluster_is_not_clean() -> None:
    kinds = {line.split()[0] for line in leftovers.report()}

    assert {"process", "mount", "folder", "control", "network", "packet"} <= kinds
