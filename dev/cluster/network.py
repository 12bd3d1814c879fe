"""Owns the bridge that pods are on, our chains of the packet filter, and the kernel settings both need."""

import itertools
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from dev import shell
from dev.cluster.files import ensure_file

BRIDGE = "kt0"
NODE_ADDRESS = "10.244.0.1"
POD_CIDR = "10.244.0.0/16"  # not buildah's 10.88.0.0/16
SERVICE_CIDR = "10.96.0.0/16"
API_PORT = 6443
POLICY_QUEUE = 10244  # of packets that the agent of policies.py decides about; any number that is free

_WAIT = ("-w", "10")  # others may be changing rules at the same time

_FORWARDING = "net.ipv4.ip_forward"
# What the kernel changes together with it, in both directions.
_CHANGED_WITH_FORWARDING = ("net/ipv4/conf/all/accept_redirects", "net/ipv4/conf/*/forwarding")
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
# Pods and the cluster's own programs are for this machine and its pods only, whatever way leads to them from
# outside: an address of theirs, or a Service, which kube-proxy has rewritten by then. Replies to pods return.
_FROM_OUTSIDE = (
    "-i lo -j RETURN",
    f"-i {BRIDGE} -j RETURN",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
)
_TO_API_SERVER = f"-p tcp --dport {API_PORT} -j DROP"  # it listens on all addresses, of IPv6 too
_TO_NODE = (*_FROM_OUTSIDE, f"-d {POD_CIDR} -j DROP", _TO_API_SERVER)
# Each chain is ours alone, and one rule in a built-in chain leads to it.
# (table, built-in chain, our chain, its rules)
_CHAINS = (
    (
        "filter",
        "FORWARD",
        "KUBETUNE-FORWARD",  # on machines whose default is to drop, as Docker sets it
        (f"-i {BRIDGE} -j ACCEPT", f"-o {BRIDGE} -j ACCEPT"),
    ),
    ("mangle", "FORWARD", "KUBETUNE-POLICIES", _ASK_POLICIES),
    ("mangle", "INPUT", "KUBETUNE-POLICIES-NODE", _ASK_POLICIES[:2]),
    # This table comes after all others: whoever accepts a packet there, as kube-proxy does, has accepted it
    # only as far as here.
    ("security", "FORWARD", "KUBETUNE-PODS", (*_FROM_OUTSIDE, f"-o {BRIDGE} -j DROP")),
    ("security", "INPUT", "KUBETUNE-NODE", _TO_NODE),
    (
        "nat",
        "POSTROUTING",
        "KUBETUNE-POSTROUTING",  # pods reach the outside under this machine's address
        (f"-s {POD_CIDR} ! -d {POD_CIDR} ! -o {BRIDGE} -j MASQUERADE",),
    ),
)
# A machine that was no router does not become one between its other networks; other bridges stay switches.
_NO_ROUTER = (
    "filter",
    "FORWARD",
    "KUBETUNE-NO-ROUTER",
    (
        f"-i {BRIDGE} -j RETURN",
        f"-o {BRIDGE} -j RETURN",
        "-m physdev --physdev-is-bridged -j RETURN",
        "-j DROP",
    ),
)
_IPV6_CHAINS = (("security", "INPUT", "KUBETUNE-NODE", (*_FROM_OUTSIDE, _TO_API_SERVER)),)
_TABLES = ("filter", "nat", "mangle", "security")
_SETTINGS = Path("/proc/sys")
_HAS_IPV6 = Path("/proc/net/if_inet6")


def ensure_network(root: Path) -> None:
    """Make the bridge, the chains and the settings; what the settings were before is kept in `root`."""
    was_router = _remember_settings(root)[_FORWARDING] != "0"
    for chain in _CHAINS if was_router else (*_CHAINS, _NO_ROUTER):  # before anything can be reached
        _ensure_chain("iptables", *chain)
    for chain in _IPV6_CHAINS if _HAS_IPV6.exists() else ():
        _ensure_chain("ip6tables", *chain)
    if _read(_FORWARDING) != "1":
        _path(_FORWARDING).write_text("1")
    if not bridge_exists():
        shell.output(["ip", "link", "add", BRIDGE, "type", "bridge"])
    # A Service's packets between two pods pass the bridge only. Other bridges of this machine are left alone.
    shell.output(["ip", "link", "set", BRIDGE, "type", "bridge", "nf_call_iptables", "1"])
    if NODE_ADDRESS not in shell.output(["ip", "-4", "addr", "show", "dev", BRIDGE]):
        shell.output(["ip", "addr", "add", f"{NODE_ADDRESS}/16", "dev", BRIDGE])
    shell.output(["ip", "link", "set", BRIDGE, "up"])
    # This machine reaches Services too, even when it has no route to the outside that could carry the packets
    # up to the point where the filter gives them a pod's address.
    shell.output(["ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE])


def _ensure_chain(program: str, table: str, builtin: str, chain: str, rules: Sequence[str]) -> None:
    """Make a chain have these rules and no others, all at once, and a built-in one lead to it."""
    lines = [f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), "COMMIT", ""]
    shell.output([f"{program}-restore", *_WAIT, "--noflush"], stdin="\n".join(lines))
    if not shell.succeeds([program, *_WAIT, "-t", table, "-C", builtin, "-j", chain]):
        shell.output([program, *_WAIT, "-t", table, "-I", builtin, "-j", chain])


def remove_network(root: Path) -> None:
    """Undo `ensure_network`, whatever of it is there."""
    remove_chains("KUBETUNE-")
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
    for program, table in itertools.product(_programs(), _TABLES):
        command = [program, *_WAIT, "-t", table]
        listing = shell.output([*command, "-S"]).splitlines()
        jumps = [line for line in listing if line.startswith("-A ") and f" -j {prefix}" in line]
        for line in jumps:
            shell.output([*command, "-D", *shlex.split(line)[1:]])
        chains = [line.split()[1] for line in listing if line.startswith(f"-N {prefix}")]
        for action in ("-F", "-X"):
            for chain in chains:
                shell.output([*command, action, chain])


def bridge_exists() -> bool:
    """Tell whether the bridge is there."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def rules(*marks: str) -> Iterator[str]:
    """Find the packet filter's rules and chains that contain one of the given texts."""
    for program in _programs():
        for line in shell.output([f"{program}-save"]).splitlines():
            if any(mark in line for mark in marks):
                yield line


def _programs() -> list[str]:
    """Return the filter's programs, one for each kind of addresses; none where their package is gone."""
    wanted = ("iptables", "ip6tables") if _HAS_IPV6.exists() else ("iptables",)
    return [program for program in wanted if shell.which(program) is not None]


def _saved(root: Path) -> Path:
    return root / "sysctl.json"


def _remember_settings(root: Path) -> dict[str, str]:
    """Return what the settings were before us."""
    if not _saved(root).exists():
        names = [_FORWARDING, *_CHANGED_BY_KUBELET]  # in this order they are restored
        for pattern in _CHANGED_WITH_FORWARDING:
            names += sorted(str(path.relative_to(_SETTINGS)) for path in _SETTINGS.glob(pattern))
        present = {name: value for name in names if (value := _read(name)) is not None}
        ensure_file(_saved(root), json.dumps(present, indent=2))
    return {str(name): str(value) for name, value in json.loads(_saved(root).read_text()).items()}


def _path(name: str) -> Path:
    # Names of interfaces may have dots, so names with slashes are taken as they are.
    return _SETTINGS / (name if "/" in name else name.replace(".", "/"))


def _read(name: str) -> str | None:
    try:
        return _path(name).read_text().strip()
    except FileNotFoundError:
        return None
