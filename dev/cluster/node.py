"""Runs kubelet and kube-proxy: this machine as the cluster's only node."""

import ipaddress
import json
from pathlib import Path

from dev.cluster import ports
from dev.cluster.control_plane import ControlPlane
from dev.cluster.files import ensure_file
from dev.cluster.network import NODE_ADDRESS, POD_CIDR
from dev.cluster.pki import Identity
from dev.cluster.probes import start_until_answers
from dev.cluster.processes import Daemon

NODE_NAME = "node0"
DNS_ADDRESS = "10.96.0.10"
_MAX_PODS = 110
# The second is what systemd-resolved asks; the first then names only systemd-resolved, on loopback.
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def ensure_node(control_plane: ControlPlane, *, socket: Path) -> None:
    """Start kubelet, on the container runtime at `socket`, and kube-proxy, unless they run."""
    # It ends when it meets a containerd that answers already, but cannot run pods yet.
    health = f"http://127.0.0.1:{ports.KUBELET_HEALTH}/healthz"
    start_until_answers(_kubelet(control_plane, socket=socket), health, seconds=60)
    kube_proxy(control_plane).ensure()


def kubelet_root(root: Path) -> Path:
    """Return the folder with the pods' volumes."""
    return root / "kubelet"


def name_servers() -> list[str]:
    """Return the machine's name servers that pods can reach too."""
    for source in _RESOLVERS:
        if source.exists():
            lines = [line.split() for line in source.read_text().splitlines()]
            servers = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
            reachable = [server for server in servers if not ipaddress.ip_address(server).is_loopback]
            if reachable:
                return reachable
    return []


def _kubelet(control_plane: ControlPlane, *, socket: Path) -> Daemon:
    instance = control_plane.instance
    root = instance.root
    identity = Identity(
        name="kubelet",
        user=f"system:node:{NODE_NAME}",
        group="system:nodes",
        hosts=[NODE_ADDRESS, "127.0.0.1", NODE_NAME],  # without the address, `kubectl logs` does not trust it
    )
    certificate, key = instance.authority.issue(identity)
    resolver = "".join(f"nameserver {server}\n" for server in name_servers())
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": ports.KUBELET,
        "healthzPort": ports.KUBELET_HEALTH,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(instance.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs",  # systemd is not assumed
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(ensure_file(root / "resolv.conf", resolver)),
        "podLogsDir": str(root / "pod-logs"),
        "maxPods": _MAX_PODS,
        "failSwapOn": False,
        # The rules it would make are kube-proxy's business; nobody would remove them afterwards.
        "makeIPTablesUtilChains": False,
        # The disk is a developer's, with other things on it: images are never removed to make room, and pods
        # are only evicted when it is really full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }
    path = ensure_file(root / "kubelet.json", json.dumps(config, indent=2))
    arguments = [
        f"--config={path}",
        f"--kubeconfig={instance.kubeconfig(identity)}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
        f"--root-dir={kubelet_root(root)}",
        f"--cert-dir={root / 'kubelet-pki'}",
    ]
    return instance.daemon("kubelet", arguments, reads=[path])


def kube_proxy(control_plane: ControlPlane) -> Daemon:
    """Describe kube-proxy."""
    instance = control_plane.instance
    kubeconfig = instance.kubeconfig(Identity(name="kube-proxy", user="system:kube-proxy"))
    arguments = [
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NODE_NAME}",
        f"--cluster-cidr={POD_CIDR}",
        "--proxy-mode=iptables",
        f"--nodeport-addresses={NODE_ADDRESS}/32",  # the only one that nobody reaches from outside
        "--iptables-localhost-nodeports=false",  # it would change a kernel setting for all interfaces
        f"--healthz-bind-address=127.0.0.1:{ports.PROXY_HEALTH}",
        f"--metrics-bind-address=127.0.0.1:{ports.PROXY_METRICS}",
        # The machine's connection tracking is not ours to tune, and in a container it cannot be.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    return instance.daemon("kube-proxy", arguments)
