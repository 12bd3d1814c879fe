"""Brings the cluster up from whatever state it is in: each step does only what is missing."""

import dataclasses
import json
from pathlib import Path

from dev import paths, progress
from dev.cluster import addons, binaries, machine, network, s3
from dev.cluster.containerd import Containerd
from dev.cluster.control_plane import ControlPlane
from dev.cluster.control_plane_programs import NodeNetwork
from dev.cluster.files import ensure_file
from dev.cluster.kwok import ensure_kwok
from dev.cluster.lock import locked
from dev.cluster.node import ensure_node
from dev.cluster.packages import ensure_packages
from dev.cluster.policies import ensure_policies
from dev.cluster.ports import Ports
from dev.cluster.prometheus import ensure_prometheus
from dev.cluster.readiness import wait_ready
from dev.cluster.registry import ensure_registry
from dev.kubectl import Kubectl

_BENCHMARK_QPS = 1000  # the default of 20 would be what a scale benchmark measures


def up() -> None:
    """Bring up the whole cluster, and return when it is ready."""
    ensure_packages()
    programs = ensure_programs()
    if not s3.gateway_is_built():
        with progress.step("Build the S3 gateway (about 2 minutes, once)"):
            s3.build_gateway()
    with locked("cluster"):
        root = paths.cluster_state()
        is_new = not (root / "etcd").exists()
        with progress.step("Network"):
            machine.load_modules()
            network.ensure_network(root)
        with progress.step("Image registry"):
            ensure_registry()
        with progress.step("Control plane"):
            control_plane = ControlPlane(
                root,
                listen=Ports(),
                network=NodeNetwork(address=network.NODE_ADDRESS, pod_cidr=network.POD_CIDR),
            )
            control_plane.ensure()
        kubectl = Kubectl(
            program=programs.program("kubectl"),
            helm=programs.program("helm"),
            kubeconfig=control_plane.kubeconfig,
        )
        with progress.step("Network policies"):  # before there are pods: without it they have no network
            ensure_policies(control_plane)
        with progress.step("Container runtime"):
            containerd = Containerd(root, binaries=programs)
            containerd.ensure()
            if is_new:  # a `down` that found containerd dead has left an earlier cluster's containers
                containerd.remove_containers()
        with progress.step("Node"):
            ensure_node(control_plane, socket=containerd.socket)
        with progress.step("Names and volumes"):
            addons.ensure_dns(kubectl, image=containerd.coredns_image)
            addons.ensure_storage(control_plane, kubectl)
        with progress.step("S3 endpoint"):
            s3.ensure_s3(root)
        with progress.step("Prometheus"):
            ensure_prometheus(control_plane)
        with progress.step("Wait until node, names and volumes work"):
            wait_ready(control_plane, kubectl)


def up_control_plane(*, kwok: bool = False) -> Path:
    """Start a control plane without a node, beside the cluster, and return its administrator's kubeconfig."""
    ensure_programs()
    root = paths.control_plane_state()
    with locked("cluster"):
        control_plane = ControlPlane(root, listen=_remembered_ports(root), client_qps=_BENCHMARK_QPS)
        with progress.step("Control plane"):
            control_plane.ensure()
        if kwok:
            with progress.step("KWOK (two minutes to build, once)"):
                ensure_kwok(control_plane)
    return control_plane.kubeconfig


def _remembered_ports(root: Path) -> Ports:
    """Return the ports of an instance: free ones when it is new, the same ever after."""
    record = root / "ports.json"
    if not record.exists():
        ensure_file(record, json.dumps(dataclasses.asdict(Ports.free())))
    return Ports(**json.loads(record.read_text()))


def ensure_programs() -> binaries.Binaries:
    """Build Kubernetes if it is not in the cache."""
    if binaries.are_built():
        return binaries.locate()
    with progress.step("Build Kubernetes (about 6 minutes, once)"):
        return binaries.ensure_binaries()
