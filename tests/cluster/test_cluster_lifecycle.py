"""The local cluster itself: a second `up` changes nothing, and repairs what has died, be it everything.

That `down` leaves nothing is not tried here, since the other tests share the cluster: `make clean-cluster`
checks it.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from dev import paths
from dev.cluster import leftovers, processes, procfs
from dev.cluster.binaries import ensure_binaries
from dev.cluster.containerd import Containerd
from dev.cluster.kubeconfig import local_kubeconfig
from dev.cluster.node import NODE_NAME
from dev.cluster.up import up
from dev.deploy import NAMESPACE
from dev.kubectl import Kubectl, condition
from dev.target import kubectl_of
from tests.cluster.conftest import until

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


def pod(name: str) -> dict[str, Any]:
    """A pod that does nothing, from an image that the cluster always has."""
    image = Containerd(paths.cluster_state(), binaries=ensure_binaries()).pause_image
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "pause", "image": image}]},
    }


def restarts(kubectl: Kubectl) -> dict[str, int]:
    """The ready ones of the pods that are ours to wait for, each with how often it was started again."""
    pods = [kubectl.get("pod", "before", "-n", "default")]
    for namespace in ("kube-system", NAMESPACE):
        pods += kubectl.get("pods", "-n", namespace)["items"]
    return {
        each["metadata"]["uid"]: sum(status["restartCount"] for status in each["status"]["containerStatuses"])
        for each in pods
        if condition(each, "Ready").get("status") == "True"
    }


def pod_processes() -> set[tuple[int, int | None]]:
    """What runs in pods: each process with its start time."""
    return {(pid, procfs.start_time(pid)) for pid in leftovers.cgroup_processes()}


def test_up_recovers_from_the_death_of_everything_at_once(kubectl: Kubectl) -> None:
    """The last one here, since all pods start again; it ends when names and operator are there as before."""
    kubectl.apply(pod("before"))
    try:
        kubectl("wait", "--for=condition=Ready", "pod/before", "-n", "default", "--timeout=300s")
        before, orphans = restarts(kubectl), pod_processes()
        processes.kill_marked(paths.cluster_state())
        # With the shims dead, nobody looks after the containers: they run on, in their mounts and namespaces.
        assert orphans & pod_processes()
        assert leftovers.mounts(paths.cluster_state())

        up()

        kubectl.apply(pod("after"))
        kubectl("wait", "--for=condition=Ready", "pod/after", "-n", "default", "--timeout=300s")
        assert condition(kubectl.get("node", NODE_NAME), "Ready")["status"] == "True"
        until(lambda: not orphans & pod_processes(), "the processes of the killed pods to end")

        def all_run_again() -> bool:
            now = restarts(kubectl)
            return all(now.get(uid, 0) > count for uid, count in before.items())

        until(all_run_again, "the pods to be ready again")
    finally:
        kubectl("delete", "pod", "before", "after", "-n", "default", "--ignore-not-found")
