"""The local cluster itself: a second `up` changes nothing, and repairs what has died.

That everything dies at once is tried in test_up_after_a_kill.py, after all others. That `down` leaves nothing
is not tried here, since the other tests share the cluster: `make clean-cluster` checks it.
"""

from __future__ import annotations

import re
import signal
import time
from typing import Any

import httpx
import pytest

from dev import paths, shell
from dev.cluster import binaries, leftovers, network, processes
from dev.cluster.containerd import Containerd
from dev.cluster.kubeconfig import local_kubeconfig
from dev.cluster.up import up
from dev.kubectl import Kubectl
from dev.target import kubectl_of
from tests.cluster.conftest import Cluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def kubectl() -> Kubectl:
    up()
    return kubectl_of(local_kubeconfig())


def programs() -> dict[str, int | None]:
    """The cluster's programs and their processes; those of pods that other tests left come and go."""
    root = paths.cluster_state()
    return {record.stem: processes.find(root, record.stem) for record in (root / "run").glob("*.json")}


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


@pytest.mark.disruptive  # it watches all processes
def test_a_second_up_starts_and_changes_nothing(kubectl: Kubectl) -> None:
    before, version = programs(), kubectl.get("deployment", "coredns", "-n", "kube-system")["metadata"]

    up()

    assert None not in before.values()
    assert programs() == before
    after = kubectl.get("deployment", "coredns", "-n", "kube-system")["metadata"]
    assert after["generation"] == version["generation"]


@pytest.mark.parametrize("name", ["kube-scheduler", "containerd", "local-provisioner"])
@pytest.mark.disruptive
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
        kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/bound", "--timeout=300s")
    finally:
        kubectl("delete", "pvc", "bound")


def test_storage_for_one_node_refuses_to_be_shared(kubectl: Kubectl) -> None:
    kubectl.apply(claim("shared", "local-rwo", "ReadWriteMany"))
    try:
        deadline = time.monotonic() + 300
        while not (events := refusals(kubectl, "shared")) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert "does not support access modes" in events[0]["message"]
    finally:
        kubectl("delete", "pvc", "shared")


def refusals(kubectl: Kubectl, name: str) -> list[dict[str, Any]]:
    selector = f"involvedObject.name={name},reason=ProvisioningFailed"
    return list(kubectl.get("events", "-n", "default", "--field-selector", selector)["items"])


def test_an_image_that_was_fetched_ahead_runs_without_a_pull(cluster: Cluster) -> None:
    """As the first `up` fetches images while Kubernetes is being built."""
    deployment = cluster.kubectl.get("deployment", "kubetune", "-n", "kubetune-system")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    ahead = f"{image}-ahead"
    copy_tag(image, ahead)
    containerd = Containerd(paths.cluster_state(), binaries=binaries.locate())
    containerd.pull(ahead)
    containerd.pull(ahead)
    container = {"name": "help", "image": ahead, "imagePullPolicy": "Never", "args": ["--help"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ahead", "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    cluster.kubectl.apply(pod)
    try:
        cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/ahead", "--timeout=300s")
    finally:
        cluster.kubectl("delete", "pod", "ahead")


def copy_tag(source: str, target: str) -> None:
    """Give an image of the local registry a second name in its repository."""
    kind = "application/vnd.oci.image.manifest.v1+json"

    def manifest(image: str) -> str:
        name, _, tag = image.rpartition(":")
        host, _, repository = name.partition("/")
        return f"http://{host}/v2/{repository}/manifests/{tag}"

    found = httpx.get(manifest(source), headers={"Accept": kind}).raise_for_status()
    headers = {"Content-Type": found.headers["Content-Type"]}
    httpx.put(manifest(target), content=found.content, headers=headers).raise_for_status()


@pytest.mark.usefixtures("kubectl")
def test_a_running_cluster_is_not_clean() -> None:
    kinds = {line.split()[0] for line in leftovers.report()}

    assert {"process", "mount", "folder", "control", "network", "packet"} <= kinds


@pytest.mark.usefixtures("kubectl")
def test_its_programs_listen_where_nobody_outside_can_ask_them() -> None:
    """The API server alone listens on all addresses; network.py keeps others from its port."""
    ours = set(processes.marked(paths.cluster_state()))
    sockets = [line.split() for line in shell.output(["ss", "-Hlntup"]).splitlines()]
    found = {
        line[4].rpartition(":")
        for line in sockets
        if ours & set(map(int, re.findall(r"pid=(\d+)", line[-1])))
    }

    everywhere = [
        int(port) for address, _, port in found if address not in ("127.0.0.1", network.NODE_ADDRESS)
    ]
    assert everywhere == [network.API_PORT]
