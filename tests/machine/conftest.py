"""A machine with pods among other hosts: network namespaces, with the cluster's own bridge and filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.cluster.network import NODE_ADDRESS
from tests.support.network_hosts import Host, hosts

MACHINE, LAN, FAR = "198.51.100.1", "198.51.100.2", "203.0.113.2"
MACHINE_6 = "2001:db8::1"
POD, OTHER_POD = "10.244.0.5", "10.244.0.6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Who is there."""

    machine: Host
    pod: Host
    other_pod: Host
    lan: Host
    far: Host
    """In another network that this machine is in, too."""


@pytest.fixture
def site() -> Iterator[Site]:
    """Hosts that know the machine as their router."""
    with hosts(5) as (machine, pod, other_pod, lan, far):
        machine.wire("lan0", f"{MACHINE}/24", lan, "eth0", f"{LAN}/24")
        machine.wire("far0", "203.0.113.1/24", far, "eth0", f"{FAR}/24")
        for host, address in ((machine, MACHINE_6), (lan, "2001:db8::2")):
            link = "lan0" if host is machine else "eth0"
            host("ip", "addr", "add", f"{address}/64", "dev", link, "nodad")
        lan("ip", "route", "add", "default", "via", MACHINE)
        far("ip", "route", "add", "default", "via", "203.0.113.1")
        set_(machine, "net/ipv4/ip_forward", "0")  # the real machine's may be passed on
        yield Site(machine=machine, pod=pod, other_pod=other_pod, lan=lan, far=far)


def ensure(site: Site, root: Path) -> None:
    """Make the cluster's network on the machine, with an agent of policies that accepts everything."""
    site.machine.python(f"""
from pathlib import Path
from dev.cluster.network import ensure_network
ensure_network(Path({str(root)!r}))""")
    for chain in ("KUBETUNE-POLICIES", "KUBETUNE-POLICIES-NODE"):
        site.machine("iptables", "-t", "mangle", "-F", chain)
        site.machine("iptables", "-t", "mangle", "-A", chain, "-j", "ACCEPT")


def remove(site: Site, root: Path) -> None:
    """Take the cluster's network from the machine."""
    site.machine.python(f"""
from pathlib import Path
from dev.cluster.network import remove_network
remove_network(Path({str(root)!r}))""")


def start_pods(site: Site) -> None:
    """Start two pods, each with a server."""
    for pod, address, link in ((site.pod, POD, "veth5"), (site.other_pod, OTHER_POD, "veth6")):
        site.machine.wire(link, "", pod, "eth0", f"{address}/16")
        site.machine("ip", "link", "set", link, "master", "kt0")
        site.machine("bridge", "link", "set", "dev", link, "hairpin", "on")
        pod("ip", "route", "add", "default", "via", NODE_ADDRESS)
        pod.listen((address, 80))


def set_(host: Host, name: str, value: str) -> None:
    """Set a kernel setting of a host."""
    host("sh", "-c", f"echo {value} > /proc/sys/{name}")
