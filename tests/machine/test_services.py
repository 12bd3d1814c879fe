"""What hosts of the same network reach of Services, with the real API server and the real kube-proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster import processes
from dev.cluster.network import API_PORT, NODE_ADDRESS
from tests.machine.conftest import MACHINE, MACHINE_6, POD, Site, ensure, start_pods

pytestmark = pytest.mark.cluster

SERVICE, NODE_PORT = "10.96.0.50", 30080
OBJECTS = [
    {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node0"},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}]},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "served", "namespace": "default"},
        "spec": {
            "type": "NodePort",
            "clusterIP": SERVICE,
            "externalIPs": [MACHINE],
            "ports": [{"port": 81, "targetPort": 80, "nodePort": NODE_PORT}],
        },
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "served",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "served"},
        },
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [POD], "conditions": {"ready": True}}],
    },
]
START = """
import json
from pathlib import Path
from dev.cluster.control_plane import ControlPlane
from dev.cluster.control_plane_programs import NodeNetwork
from dev.cluster.network import NODE_ADDRESS, POD_CIDR
from dev.cluster.node import kube_proxy
from dev.cluster.ports import Ports
from dev.kubectl import Kubectl

root, objects = Path(sys.argv[1]), json.loads(sys.argv[2])
network = NodeNetwork(address=NODE_ADDRESS, pod_cidr=POD_CIDR)
plane = ControlPlane(root, listen=Ports(), network=network)
plane.ensure()
programs = plane.instance.binaries
kubectl = Kubectl(
    program=programs.program("kubectl"), helm=programs.program("helm"), kubeconfig=plane.kubeconfig
)
kubectl.apply(*objects)
kubectl("patch", "node", "node0", "--subresource=status", "-p", json.dumps({"status": objects[0]["status"]}))
kube_proxy(plane).ensure()
"""
CLEAN = """
from dev.cluster import network
network.remove_chains("KUBE-")
"""


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a control plane, which is stopped in the end."""
    folder = tmp_path_factory.mktemp("plane")
    yield folder
    processes.kill_marked(folder)


def test_services_are_for_this_machine_and_its_pods(site: Site, root: Path) -> None:
    ensure(site, root)
    start_pods(site)
    site.machine.python(START, str(root), json.dumps(OBJECTS))
    ports = [(SERVICE, 81), (NODE_ADDRESS, NODE_PORT), (MACHINE, 81)]
    site.machine.wait_for(*ports)

    assert site.other_pod.asks((SERVICE, 81)) != [None]
    assert site.lan.asks(*ports, (MACHINE, NODE_PORT), (POD, 80)) == [None] * 5
    assert site.lan.connects((MACHINE, API_PORT), (MACHINE_6, API_PORT), ("10.96.0.1", 443)) == [False] * 3
    assert site.machine.connects((MACHINE, API_PORT), (MACHINE_6, API_PORT), ("10.96.0.1", 443)) == [True] * 3

    processes.kill_marked(root)
    site.machine.python(CLEAN)
    saved = site.machine("iptables-save") + site.machine("ip6tables-save")
    assert [line for line in saved.splitlines() if "KUBE-" in line] == []
