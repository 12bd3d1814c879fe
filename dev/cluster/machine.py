"""Reads what matters about this machine; what it lacks is judged in preflight.py.

Standard library only, as the preflight: it runs before anything is installed.
"""

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import paths, shell
from dev.cluster import debian, go, ports, processes

# What has containers, control groups and a packet filter of its own on the whole machine.
_RUNTIME_PACKAGES = frozenset(
    {
        *("containerd.io", "docker-ce", "docker-engine", "docker.io", "moby-containerd", "moby-engine"),
        *("kubelet", "microk8s", "rke2-server", "rke2-agent"),
    }
)
_RUNTIME_PROGRAMS = frozenset(
    {"dockerd", "k3s", "k3s-agent", "k3s-server", "k0s", "kubelet", "kubelite", "rke2"}
)
_MODULES = {
    "overlay": Path("/sys/module/overlay"),
    "br_netfilter": Path("/proc/sys/net/bridge"),
    "nfnetlink_queue": Path("/proc/net/netfilter/nfnetlink_queue"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What matters about a machine."""

    system: str
    architecture: str
    user_id: int
    controllers: frozenset[str]
    missing_modules: frozenset[str]
    has_apt: bool
    has_clients: bool
    """Whether kubectl and helm are there."""
    go_release: str | None
    memory: int
    free_disk: int
    has_cache: bool
    has_cluster: bool
    """Whether the local cluster is there already, running or not."""
    checkout: Path
    free_checkout: int | None
    """Room for .venv where that is on another disk than the caches; None where not, or where it is there."""
    cache: Path
    state: Path
    foreign_listeners: Mapping[int, str]
    """Ports of the cluster that programs of others listen on, each with the program's name."""
    runtimes: frozenset[str]
    """Docker and kubelets that are not ours: packages that are installed, and programs that run."""
    missing_packages: tuple[str, ...]
    removals: tuple[str, ...]
    """What apt would have to remove to install the missing packages."""


def look(packages: Sequence[str] = debian.PACKAGES) -> Machine:
    """Read what matters about a machine that is to have these packages."""
    cache = paths.cache()
    has_apt = shell.which("apt-get") is not None
    missing = debian.missing(packages) if has_apt else []
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        user_id=os.getuid(),
        controllers=_controllers(),
        missing_modules=frozenset(name for name, path in _MODULES.items() if not _has_module(name, path)),
        has_apt=has_apt,
        has_clients=shell.which("kubectl") is not None and shell.which("helm") is not None,
        go_release=go.release(),
        memory=_memory(),
        free_disk=shutil.disk_usage(_existing(cache)).free,
        has_cache=paths.registry_data().exists() or paths.build_store().exists(),
        has_cluster=paths.cluster_state().exists(),
        checkout=paths.REPOSITORY,
        free_checkout=_free_checkout(cache),
        cache=cache,
        state=paths.cluster_state(),
        foreign_listeners=_foreign_listeners(),
        runtimes=_runtimes(has_apt=has_apt),
        missing_packages=tuple(missing),
        removals=_removals(missing),
    )


def load_modules() -> None:
    """Load the kernel modules that are not there yet."""
    for name, path in _MODULES.items():
        if not path.exists() and shell.succeeds(["modprobe", name]) and name == "br_netfilter":
            # It begins with the packets of all bridges; ours is told by itself (network.py).
            for setting in path.glob("bridge-nf-call-*"):
                setting.write_text("0")


def _controllers() -> frozenset[str]:
    """Return the controllers that are mounted (version 1) or handed down to us (version 2)."""
    root = Path("/sys/fs/cgroup")
    unified = root / "cgroup.controllers"
    if unified.exists():
        return frozenset(unified.read_text().split())
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return frozenset(option for line in lines if line[2] == "cgroup" for option in line[3].split(","))


def _has_module(name: str, path: Path) -> bool:
    if path.exists() or name in Path("/proc/filesystems").read_text().split():
        return True
    return shell.which("modprobe") is not None and shell.succeeds(["modprobe", "--dry-run", name])


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free_checkout(cache: Path) -> int | None:
    checkout = paths.REPOSITORY
    if (checkout / ".venv").exists() or checkout.stat().st_dev == _existing(cache).stat().st_dev:
        return None
    return shutil.disk_usage(checkout).free


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _runtimes(*, has_apt: bool) -> frozenset[str]:
    ours = set(processes.marked(paths.cluster_state()))
    pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()} - ours
    running = {ports.program(pid) for pid in pids}
    return (_RUNTIME_PACKAGES & debian.installed() if has_apt else frozenset()) | _RUNTIME_PROGRAMS & running


def _removals(missing: Sequence[str]) -> tuple[str, ...]:
    if not missing:
        return ()
    try:
        return debian.plan_install(missing).removed
    except (
        shell.CommandError
    ):  # apt does not know the packages yet: installing begins with an update, and asks again
        return ()


def _foreign_listeners() -> dict[int, str]:
    ours = set(processes.marked(paths.cluster_state()))
    return {
        port: ports.program(pid)
        for port in ports.of_cluster()
        for pid in ports.listeners(port)
        if pid not in ours
    }
