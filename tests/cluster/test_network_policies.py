"""NetworkPolicies are enforced in the local cluster: only then do tests show what KubeTune's are good for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dev import paths, shell
from dev.cluster import ports, processes
from dev.cluster.control_plane_programs import KUBERNETES_SERVICE
from dev.cluster.network import NODE_ADDRESS, POD_CIDR
from dev.cluster.node import DNS_ADDRESS
from dev.cluster.up import up
from tests.cluster.conftest import Cluster, until
from tests.cluster.reach import python_pod, reached_by, wait_until_ready

pytestmark = pytest.mark.cluster

WEB, METRICS = 8080, 9090
HERE, OUTSIDE = "198.18.0.1", "198.18.0.2"
"""This machine's address on a link to what is neither a pod nor this machine, and the other end's."""

LISTEN = """
import socketserver, threading
class Hello(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1000)
        self.request.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
servers = [Server(("", port), Hello) for port in (8080, 9090)]
for each in servers[1:]:
    threading.Thread(target=each.serve_forever).start()
servers[0].serve_forever()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Pods of two gangs, and all that they may want to reach."""

    cluster: Cluster
    namespace: str
    image: str
    targets: dict[str, tuple[str, str, int]]

    def reached_by(self, pod: str) -> set[str]:
        """What a pod reaches now."""
        return reached_by(self.cluster.kubectl, self.namespace, pod, self.targets)

    def wait_until_reached(self, **expected: set[str]) -> None:
        """Wait until each pod reaches what is given, and nothing else: the agent hears of a policy soon."""
        seen: dict[str, set[str]] = {}

        def as_expected() -> bool:
            with ThreadPoolExecutor() as pool:
                seen.update(zip(expected, pool.map(self.reached_by, expected), strict=True))
            return seen == expected

        try:
            until(as_expected, "policies to be enforced", seconds=60)
        except pytest.fail.Exception:
            assert seen == expected  # it shows the difference
            raise

    @contextmanager
    def policy(self, **spec: Any) -> Iterator[None]:
        """Have a policy in the block."""
        metadata = {"name": "tried", "namespace": self.namespace}
        self.cluster.kubectl.apply(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": metadata,
                "spec": spec,
            }
        )
        try:
            yield
        finally:
            self.cluster.kubectl("delete", "networkpolicy", "tried", "-n", self.namespace)

    def pod(self, name: str, *, gang: str, run: str, **container: Any) -> dict[str, Any]:
        """A pod that runs Python."""
        labels = {"gang": gang, "name": name}
        return python_pod(self.namespace, name, self.image, run=run, labels=labels, **container)

    def server(self, name: str, *, gang: str) -> dict[str, Any]:
        """A pod that is ready when kubelet reaches it."""
        return self.pod(
            name,
            gang=gang,
            run=LISTEN,
            ports=[{"name": "web", "containerPort": WEB}, {"name": "metrics", "containerPort": METRICS}],
            readinessProbe={"httpGet": {"port": "web"}, "periodSeconds": 1},
        )

    def wait_ready(self, *pods: str) -> None:
        wait_until_ready(self.cluster.kubectl, self.namespace, *pods)


@pytest.fixture(scope="module")
def outside() -> Iterator[None]:
    """Something that is neither a pod nor this machine: a network namespace with a server, routed to."""
    with_us = ["setpriv", "--pdeathsig=KILL"]  # else it and its link would outlive tests that are killed
    command = [*with_us, "unshare", "--net", sys.executable, "-c", "print(flush=True)\n" + LISTEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has its namespace
            link = ["ip", "link", "add", "kt-outside", "type", "veth", "peer", "name", "eth0", "netns"]
            shell.output([*link, str(process.pid)])
            shell.output(["ip", "address", "add", f"{HERE}/30", "dev", "kt-outside"])
            shell.output(["ip", "link", "set", "kt-outside", "up"])
            for arguments in (
                ["address", "add", f"{OUTSIDE}/30", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["route", "add", "default", "via", HERE],
            ):
                shell.output(["nsenter", "--net", f"--target={process.pid}", "ip", *arguments])
            yield
        finally:
            process.kill()  # the kernel takes its end of the link away, and ours with it


@pytest.fixture(scope="module")
def around(cluster: Cluster, namespace: str, outside: None) -> Surroundings:
    operator = cluster.kubectl.get("deployment", "kubetune", "-n", "kubetune-system")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    found = Surroundings(cluster=cluster, namespace=namespace, image=image, targets={})
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"name": "server"}, "ports": [{"port": 80, "targetPort": "web"}]},
    }
    cluster.kubectl.apply(
        service,
        found.server("server", gang="a"),
        found.server("friend", gang="a"),
        found.server("stranger", gang="b"),
    )
    found.wait_ready("server", "friend", "stranger")
    pod = cluster.kubectl.get("pod", "server", "-n", namespace)["status"]["podIP"]
    service = cluster.kubectl.get("service", "server", "-n", namespace)["spec"]["clusterIP"]
    found.targets.update(
        web=("STREAM", pod, WEB),
        metrics=("STREAM", pod, METRICS),
        service=("STREAM", service, 80),
        names=("DGRAM", DNS_ADDRESS, 53),
        api=("STREAM", KUBERNETES_SERVICE, 443),
        s3=("STREAM", NODE_ADDRESS, ports.S3),
        outside=("STREAM", OUTSIDE, WEB),
    )
    return found


SERVER = {"web", "metrics", "service"}
ALL = SERVER | {"names", "api", "s3", "outside"}
GANG_A, GANG_B = ({"matchLabels": {"gang": gang}} for gang in "ab")
DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}


def test_a_policy_holds_as_long_as_it_is_there(around: Surroundings) -> None:
    around.wait_until_reached(friend=ALL, stranger=ALL)
    own_gang = [{"from": [{"podSelector": GANG_A}]}]
    with around.policy(podSelector=GANG_A, policyTypes=["Ingress"], ingress=own_gang):
        around.wait_until_reached(friend=ALL, stranger=ALL - SERVER)
    around.wait_until_reached(friend=ALL, stranger=ALL)


@pytest.mark.parametrize(
    ("spec", "friend", "stranger"),
    [
        pytest.param(
            {
                "podSelector": GANG_A,
                "policyTypes": ["Egress"],
                "egress": [DNS, {"to": [{"podSelector": GANG_A}]}],
            },
            SERVER | {"names"},
            ALL,
            id="egress to names and the own gang",
        ),
        pytest.param(
            {
                "podSelector": {"matchLabels": {"name": "server"}},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [
                            {
                                "podSelector": GANG_B,
                                "namespaceSelector": {
                                    "matchLabels": {"kubernetes.io/metadata.name": "test-network-policies"}
                                },
                            }
                        ],
                        "ports": [{"port": "web"}],
                    },
                    # Of another namespace, so nobody here.
                    {"from": [{"namespaceSelector": {"matchLabels": {"no": "such"}}}]},
                ],
            },
            ALL - SERVER,
            ALL - {"metrics"},
            id="ingress to a named port, from pods of a namespace",
        ),
        pytest.param(
            {
                "podSelector": GANG_B,
                "policyTypes": ["Egress"],
                "egress": [
                    {
                        "to": [{"ipBlock": {"cidr": POD_CIDR, "except": [f"{NODE_ADDRESS}/32"]}}],
                        "ports": [{"port": 8000, "endPort": 8999}],
                    },
                    {"to": [{"ipBlock": {"cidr": f"{OUTSIDE}/32"}}], "ports": [{"port": WEB}]},
                ],
            },
            ALL,
            {"web", "service", "outside"},
            id="egress to addresses and a range of ports",
        ),
        pytest.param(
            {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, set(), set(), id="nothing for anybody"
        ),
        pytest.param(
            {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
            ALL,
            ALL,
            id="all for everybody",
        ),
    ],
)
def test_rules_say_what_is_allowed(
    around: Surroundings, spec: dict[str, Any], friend: set[str], stranger: set[str]
) -> None:
    with around.policy(**spec):
        around.wait_until_reached(friend=friend, stranger=stranger)


def test_a_pod_that_admits_nobody_is_probed(around: Surroundings) -> None:
    with around.policy(podSelector={"matchLabels": {"gang": "alone"}}, policyTypes=["Ingress", "Egress"]):
        around.cluster.kubectl.apply(around.server("alone", gang="alone"))
        around.wait_ready("alone")


FIRST_ACT = """
import socket
for attempt in range({attempts}):
    try:
        socket.create_connection(("{address}", {port}), timeout={timeout}).close()
    except OSError as error:
        print(error)
    else:
        print("connected")
        raise SystemExit(0)
raise SystemExit(1)
"""


def test_a_new_pods_first_packet_is_judged_by_what_the_pod_is(around: Surroundings) -> None:
    """One is let through at its only attempt, and one at none of many, the first of which are early."""
    _, server, _ = around.targets["web"]
    allowed = FIRST_ACT.format(attempts=1, address=server, port=WEB, timeout=60)
    refused = FIRST_ACT.format(attempts=12, address=NODE_ADDRESS, port=ports.S3, timeout=0.25)
    spec = {"podSelector": GANG_A, "policyTypes": ["Ingress", "Egress"]}
    own_gang = [{"podSelector": GANG_A}]
    with around.policy(**spec, ingress=[{"from": own_gang}], egress=[{"to": own_gang}]):
        around.cluster.kubectl.apply(
            around.pod("allowed", gang="a", run=allowed), around.pod("refused", gang="a", run=refused)
        )

        def ended() -> dict[str, str] | None:
            pods = {
                name: around.cluster.kubectl.get("pod", name, "-n", around.namespace)
                for name in ("allowed", "refused")
            }
            phases = {name: pod["status"]["phase"] for name, pod in pods.items()}
            return phases if set(phases.values()) <= {"Succeeded", "Failed"} else None

        assert until(ended, "both pods to end") == {"allowed": "Succeeded", "refused": "Failed"}


def test_pods_have_no_second_address_that_no_policy_is_about(around: Surroundings) -> None:
    """Each network device has one of IPv6 that neighbours reach, unless that is turned off."""
    text = around.cluster.kubectl(
        *("exec", "-n", around.namespace, "server", "--", "sh", "-c", "cat /proc/net/if_inet6 || true")
    )

    assert {line.split()[-1] for line in text.splitlines()} <= {"lo"}


@pytest.mark.disruptive
def test_without_the_agent_no_connection_is_made(around: Surroundings) -> None:
    agent = processes.find(paths.cluster_state(), "policy-agent")
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    try:
        around.wait_until_reached(friend=set(), stranger=set())
    finally:
        up()
    around.wait_until_reached(friend=ALL, stranger=ALL)
