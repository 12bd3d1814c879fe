"""Owns what runs on top of Kubernetes so that it is a usable cluster: names and volumes."""

import string
from pathlib import Path

from dev.cluster.control_plane import ControlPlane
from dev.cluster.node import DNS_ADDRESS, name_servers
from dev.kubectl import Kubectl

STORAGE_CLASSES = ("local", "local-rwo")
_MANIFESTS = Path(__file__).parent / "manifests"


def ensure_dns(kubectl: Kubectl, *, image: str) -> None:
    """Install CoreDNS."""
    # Without a name server of the machine, names outside the cluster fail at once, not after a time-out.
    forward = "forward . /etc/resolv.conf" if name_servers() else ""
    template = string.Template((_MANIFESTS / "coredns.yaml").read_text())
    _apply(kubectl, template.substitute(image=image, address=DNS_ADDRESS, forward=forward))


def ensure_storage(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    """Start the program that makes volumes for claims, and create the classes that claims name."""
    instance = control_plane.instance
    volumes = instance.root / "volumes"
    volumes.mkdir(parents=True, exist_ok=True)
    arguments = [f"--kubeconfig={control_plane.kubeconfig}", f"--root={volumes}"]
    instance.daemon("local-provisioner", arguments).ensure()
    _apply(kubectl, (_MANIFESTS / "storage.yaml").read_text())


def _apply(kubectl: Kubectl, manifests: str) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)
