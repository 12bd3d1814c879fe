"""Owns the flags of etcd, the API server, the controller manager and the scheduler, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.binaries import Binaries
from dev.cluster.files import ensure_file
from dev.cluster.kubeconfig import write_kubeconfig
from dev.cluster.network import SERVICE_CIDR
from dev.cluster.pki import Authority, Identity
from dev.cluster.ports import Ports
from dev.cluster.processes import Daemon

KUBERNETES_SERVICE = "10.96.0.1"  # the first address of the range, by Kubernetes' own rule
_AUDIT_POLICY = Path(__file__).parent / "manifests" / "audit-policy.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeNetwork:
    """What an API server must know when it has nodes. Without it, it is reachable through loopback only."""

    address: str
    pod_cidr: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One control plane: its folder, its ports and what sets it apart from others."""

    root: Path
    ports: Ports
    binaries: Binaries
    authority: Authority
    network: NodeNetwork | None
    client_qps: int | None
    admission: Sequence[str] = ()
    """Admission plugins that some distributions turn on."""

    @property
    def url(self) -> str:
        """The API server's address on this machine."""
        return f"https://127.0.0.1:{self.ports.apiserver}"

    @property
    def audit_log(self) -> Path:
        """One JSON object per request."""
        return self.root / "logs" / "audit.jsonl"

    def kubeconfig(self, identity: Identity) -> Path:
        """Return the kubeconfig of one user, with the certificate it needs, both made if need be."""
        certificate, key = self.authority.issue(identity)
        return write_kubeconfig(
            self.root / "kubeconfig" / f"{identity.name}.yaml",
            server=self.url,
            authority=self.authority.certificate,
            certificate=certificate,
            key=key,
        )

    def daemon(self, name: str, arguments: Sequence[str], *, reads: Sequence[Path] = ()) -> Daemon:
        """Describe one program of this instance."""
        argv: list[str | Path] = [self.binaries.program(name), *arguments]
        return Daemon(name=name, root=self.root, argv=argv, reads=reads)


def etcd(instance: Instance) -> Daemon:
    """Describe etcd."""
    # Loopback without certificates: whoever is on a development machine may use its development cluster.
    clients = f"http://127.0.0.1:{instance.ports.etcd}"
    peers = f"http://127.0.0.1:{instance.ports.etcd_peers}"
    arguments = [
        f"--data-dir={instance.root / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # A crash of the machine may lose the cluster, which is thrown away anyway; a sync for each write
        # would be most of what an idle cluster does to the disk.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return instance.daemon("etcd", arguments)


def apiserver(instance: Instance) -> Daemon:
    """Describe the API server."""
    network = instance.network
    hosts = ["127.0.0.1", "localhost", KUBERNETES_SERVICE, "kubernetes", "kubernetes.default.svc"]
    hosts += [network.address] if network else []
    authority = instance.authority
    serving = authority.issue(Identity(name="kube-apiserver", user="kube-apiserver", hosts=hosts))
    # Without this group, or a binding of its own, `kubectl logs` and `kubectl exec` are forbidden.
    to_kubelet = Identity(name="apiserver-kubelet-client", user="kube-apiserver", group="system:masters")
    client = authority.issue(to_kubelet)
    tokens = authority.service_account_key()
    # A copy, since a running cluster must not depend on the checkout that started it.
    policy = ensure_file(instance.root / "audit-policy.yaml", _AUDIT_POLICY.read_bytes())
    arguments = [
        f"--etcd-servers=http://127.0.0.1:{instance.ports.etcd}",
        f"--secure-port={instance.ports.apiserver}",
        f"--bind-address={'0.0.0.0' if network else '127.0.0.1'}",
        f"--advertise-address={network.address if network else '127.0.0.1'}",
        # The address becomes the endpoint of the Service `kubernetes`, and loopback is no valid endpoint.
        f"--endpoint-reconciler-type={'lease' if network else 'none'}",
        f"--tls-cert-file={serving[0]}",
        f"--tls-private-key-file={serving[1]}",
        f"--client-ca-file={authority.certificate}",
        f"--kubelet-certificate-authority={authority.certificate}",
        f"--kubelet-client-certificate={client[0]}",
        f"--kubelet-client-key={client[1]}",
        "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
        f"--service-account-key-file={tokens}",
        f"--service-account-signing-key-file={tokens}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        # Added to the default ones.
        f"--enable-admission-plugins={','.join(['NodeRestriction', *instance.admission])}",
        "--allow-privileged=true",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={instance.audit_log}",
        "--audit-log-maxsize=1000",  # MB, after which a new file begins: a whole test run fits
        "--audit-log-maxbackup=1",
    ]
    return instance.daemon("kube-apiserver", arguments, reads=[policy])


def controller_manager(instance: Instance) -> Daemon:
    """Describe the controller manager."""
    name = "kube-controller-manager"
    arguments = [
        *_client_arguments(instance, name, instance.ports.controller_manager),
        f"--root-ca-file={instance.authority.certificate}",
        f"--service-account-private-key-file={instance.authority.service_account_key()}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",  # the CNI configuration has the range of the only node
    ]
    return instance.daemon(name, arguments)


def scheduler(instance: Instance) -> Daemon:
    """Describe the scheduler."""
    name = "kube-scheduler"
    return instance.daemon(name, _client_arguments(instance, name, instance.ports.scheduler))


def _client_arguments(instance: Instance, name: str, port: int) -> list[str]:
    config = instance.kubeconfig(Identity(name=name, user=f"system:{name}"))
    arguments = [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",  # there is only one
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
    ]
    if instance.client_qps:
        arguments += [f"--kube-api-qps={instance.client_qps}", f"--kube-api-burst={2 * instance.client_qps}"]
    return arguments
