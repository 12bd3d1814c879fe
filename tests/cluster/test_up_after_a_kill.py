"""The local cluster, killed as a whole while pods run: the next `up` makes it work again.

tests/conftest.py puts it after all tests that ask Prometheus. Every pod starts again with another address,
and for five minutes Prometheus still answers with what it knew of the one before.
"""

from __future__ import annotations

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

pytestmark = [pytest.mark.cluster, pytest.mark.disruptive]


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


def test_up_recovers_from_the_death_of_everything_at_once() -> None:
    """It ends when what runs in the cluster, the operator included, is there as before."""
    up()
    kubectl = kubectl_of(local_kubeconfig())
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
