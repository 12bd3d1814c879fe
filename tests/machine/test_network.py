"""What hosts of the same network reach of this machine and its pods, and what the network's end leaves.

The machine, its pods and the hosts around it are network namespaces; filter and bridge are the cluster's own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.cluster.network import API_PORT, NODE_ADDRESS
from tests.machine.conftest import (
    FAR,
    LAN,
    MACHINE,
    MACHINE_6,
    OTHER_POD,
    POD,
    Site,
    ensure,
    remove,
    set_,
    start_pods,
)

pytestmark = pytest.mark.cluster

SERVICE, NODE_PORT, BALANCED = "10.96.0.50", 30080, 30081
S3, OWN = 7070, 8080
"""A port of the cluster, and one of the machine's owner."""


def start(site: Site) -> None:
    """Start pods, Services as kube-proxy makes them, and programs everywhere."""
    start_pods(site)
    filter_ = ("iptables", "-t", "filter")
    site.machine(*filter_, "-I", "FORWARD", "-m", "mark", "--mark", "0x4000/0x4000", "-j", "ACCEPT")
    for builtin in ("PREROUTING", "OUTPUT"):
        nat = ("iptables", "-t", "nat", "-A", builtin, "-p", "tcp")
        site.machine(*nat, "-d", SERVICE, "-j", "DNAT", "--to-destination", f"{POD}:80")
        for port, target in ((NODE_PORT, f"{POD}:80"), (BALANCED, f"{NODE_ADDRESS}:{S3}")):
            to_port = (*nat, "--dport", str(port), "-m", "addrtype", "--dst-type", "LOCAL")
            site.machine(*to_port, "-j", "MARK", "--set-xmark", "0x4000/0x4000")
            site.machine(*to_port, "-j", "DNAT", "--to-destination", target)
    everywhere = [("0.0.0.0", OWN), ("::", API_PORT), (NODE_ADDRESS, S3)]
    site.machine.listen(*everywhere)
    site.lan.listen((LAN, 80))
    site.far.listen((FAR, 80))


CLOSED = [
    (POD, 80),
    (SERVICE, 80),
    (MACHINE, NODE_PORT),
    (MACHINE, BALANCED),
    (NODE_ADDRESS, S3),
    (NODE_ADDRESS, API_PORT),
    (MACHINE, API_PORT),
    (MACHINE_6, API_PORT),
]
"""What nobody outside may reach."""


def test_a_host_of_the_same_network_reaches_nothing_of_the_cluster(site: Site, tmp_path: Path) -> None:
    ensure(site, tmp_path)
    start(site)

    assert site.lan.asks(*CLOSED) == [None] * len(CLOSED)
    assert site.lan.asks((MACHINE, OWN)) == [LAN]  # what the machine's owner serves is open as before
    local = site.machine.asks(*CLOSED)
    assert None not in local  # every one of them answers at home
    assert local[0] == NODE_ADDRESS


def test_pods_reach_each_other_services_this_machine_and_the_outside(site: Site, tmp_path: Path) -> None:
    ensure(site, tmp_path)
    start(site)

    answers = site.pod.asks((OTHER_POD, 80), (NODE_ADDRESS, S3), (NODE_ADDRESS, API_PORT), (LAN, 80))
    assert answers == [POD, POD, f"::ffff:{POD}", MACHINE]
    assert site.other_pod.asks((SERVICE, 80)) == [OTHER_POD]  # its answer passes the bridge only


@pytest.mark.parametrize("was_router", ["0", "1"])
def test_the_machine_is_a_router_only_if_it_was_one(site: Site, tmp_path: Path, was_router: str) -> None:
    set_(site.machine, "net/ipv4/ip_forward", was_router)
    ensure(site, tmp_path)
    start(site)

    assert site.lan.asks((FAR, 80)) == [LAN if was_router == "1" else None]


def test_a_second_start_mends_what_others_did_to_the_chains(site: Site, tmp_path: Path) -> None:
    ensure(site, tmp_path)
    before = site.machine("iptables-save")
    site.machine("iptables", "-t", "security", "-I", "KUBETUNE-PODS", "-j", "ACCEPT")

    ensure(site, tmp_path)

    assert without_counters(site.machine("iptables-save")) == without_counters(before)


def test_the_end_of_the_network_leaves_all_settings_as_they_were(site: Site, tmp_path: Path) -> None:
    """Forwarding changes other settings with it, some of which keep the machine safe."""
    set_(site.machine, "net/ipv4/conf/all/accept_redirects", "0")
    set_(site.machine, "net/ipv4/conf/far0/forwarding", "1")
    before = settings(site)

    ensure(site, tmp_path)
    during = settings(site)
    remove(site, tmp_path)

    assert during != before
    assert settings(site) == before
    assert rules(site) == []


def settings(site: Site) -> list[str]:
    kept = site.machine(
        "sh", "-c", "grep -rs . /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/bridge; true"
    )
    passing = ("/kt0/", "conntrack_count", "fib_sync_mem", "tcp_mem", "stable_secret")
    return sorted(line for line in kept.splitlines() if not any(each in line for each in passing))


def rules(site: Site) -> list[str]:
    saved = site.machine("iptables-save") + site.machine("ip6tables-save")
    return [line for line in saved.splitlines() if line.startswith("-A ") or "KUBETUNE" in line]


def without_counters(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if line.startswith("-A ")]
