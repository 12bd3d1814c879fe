"""Owns the bridge that pods are on, our chains of the packet filter, and the kernel settings both need."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from dev import shell
from dev.cluster.files import ensure_file

BRIDGE = "kt0"
NODE_ADDRESS = "10.244.0.1"
POD_CIDR = "10.244.0.0/16"  # not buildah's 10.88.0.0/16
SERVICE_CIDR = "10.96.0.0/16"
API_PORT = 6443
POLICY_QUEUE = 10244  # of packets that the agent of policies.py decides about; any number that is free

_SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "1",  # a Service's packets between two pods pass the bridge only
}
# kubelet sets these when it starts, and nobody sets them back.
_CHANGED_BY_KUBELET = (
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "kernel.panic",
    "kernel.panic_on_oops",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
)
# What policies are about: new connections of pods, with each other, with the outside and with this machine.
# The address behind a Service has taken the Service's place by then. Not those that this machine makes, such
# as kubelet's probes: FORWARD has none of them. No `--queue-bypass`: when nobody answers, nothing passes.
_ASK_POLICIES = (
    "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    f"-i {BRIDGE} -j NFQUEUE --queue-num {POLICY_QUEUE}",
    f"-o {BRIDGE} -j NFQUEUE --queue-num {POLICY_QUEUE}",
)
# Each chain is ours alone, and one rule in a built-in chain leads to it.
# (table, built-in chain, our chain, its rules)
_CHAINS = (
    (
        "filter",
        "FORWARD",
        "KUBETUNE-FORWARD",  # on machines whose default is to drop, as Docker sets it
        (f"-i {BRIDGE} -j ACCEPT", f"-o {BRIDGE} -j ACCEPT"),
    ),
    (
        "filter",
        "INPUT",
        "KUBETUNE-INPUT",  # the API server listens everywhere, but is for this machine and its pods only
        ("-i lo -j RETURN", f"-i {BRIDGE} -j RETURN", f"-p tcp --dport {API_PORT} -j DROP"),
    ),
    ("mangle", "FORWARD", "KUBETUNE-POLICIES", _ASK_POLICIES),
    ("mangle", "INPUT", "KUBETUNE-POLICIES-NODE", _ASK_POLICIES[:2]),
    (
        "nat",
        "POSTROUTING",
        "KUBETUNE-POSTROUTING",  # pods reach the outside under this machine's address
        (f"-s {POD_CIDR} ! -d {POD_CIDR} ! -o {BRIDGE} -j MASQUERADE",),
    ),
)


def ensure_network(root: Path) -> None:
    """Make the bridge, the chains and the settings; what the settings were before is kept in `root`."""
    _remember_settings(root)
    for name, value in _SETTINGS.items():
        if _read(name) != value:
            _path(name).write_text(value)
    if not bridge_exists():
        shell.output(["ip", "link", "add", BRIDGE, "type", "bridge"])
    if NODE_ADDRESS not in shell.output(["ip", "-4", "addr", "show", "dev", BRIDGE]):
        shell.output(["ip", "addr", "add", f"{NODE_ADDRESS}/16", "dev", BRIDGE])
    shell.output(["ip", "link", "set", BRIDGE, "up"])
    # This machine reaches Services too, even when it has no route to the outside that could carry the packets
    # up to the point where the filter gives them a pod's address.
    shell.output(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE])
    for table, builtin, chain, rules in _CHAINS:
        shell.succeeds([*_iptables(table), "-N", chain])
        for rule in rules:
            if not shell.succeeds([*_iptables(table), "-C", chain, *rule.split()]):
                shell.output([*_iptables(table), "-A", chain, *rule.split()])
        if not shell.succeeds([*_iptables(table), "-C", builtin, "-j", chain]):
            shell.output([*_iptables(table), "-I", builtin, "-j", chain])


def remove_network(root: Path) -> None:
    """Undo `ensure_network`, whatever of it is there."""
    for table, builtin, chain, _ in _CHAINS:
        while shell.succeeds([*_iptables(table), "-D", builtin, "-j", chain]):
            pass
        shell.succeeds([*_iptables(table), "-F", chain])
        shell.succeeds([*_iptables(table), "-X", chain])
    if bridge_exists():
        for link in sorted(Path(f"/sys/class/net/{BRIDGE}/brif").iterdir()):
            shell.succeeds(
                ["ip", "link", "del", link.name]
            )  # a pod's end, if the pod's namespace still lives
        shell.output(["ip", "link", "del", BRIDGE])
    saved = _saved(root)
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            if _read(name) not in (value, None):
                _path(name).write_text(value)
        saved.unlink()


def remove_chains(prefix: str) -> None:
    """Remove every chain whose name begins so, with the rules that lead to it."""
    for table in ("filter", "nat", "mangle"):
        listing = shell.output([*_iptables(table), "-S"]).splitlines()
        jumps = [line for line in listing if line.startswith("-A ") and f" -j {prefix}" in line]
        for line in jumps:
            shell.output([*_iptables(table), "-D", *shlex.split(line)[1:]])
        chains = [line.split()[1] for line in listing if line.startswith(f"-N {prefix}")]
        for action in ("-F", "-X"):
            for chain in chains:
                shell.output([*_iptables(table), action, chain])


def bridge_exists() -> bool:
    """Tell whether the bridge is there."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def rules(*marks: str) -> Iterator[str]:
    """Find the packet filter's rules and chains that contain one of the given texts."""
    for line in shell.output(["iptables-save"]).splitlines():
        if any(mark in line for mark in marks):
            yield line


def _iptables(table: str) -> list[str]:
    return ["iptables", "-w", "10", "-t", table]  # -w: others may be changing rules at the same time


def _saved(root: Path) -> Path:
    return root / "sysctl.json"


def _remember_settings(root: Path) -> None:
    if not _saved(root).exists():
        values = {name: _read(name) for name in (*_SETTINGS, *_CHANGED_BY_KUBELET)}
        present = {name: value for name, value in values.items() if value is not None}
        ensure_file(_saved(root), json.dumps(present, indent=2))


def _path(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def _read(name: str) -> str | None:
    try:
        return _path(name).read_text().strip()
    except FileNotFoundError:
        return None
