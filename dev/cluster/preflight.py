"""Says within seconds what this machine lacks to run the cluster, and what to do about it.

What is looked at and what is judged are kept apart: `look` reads the machine, `problems` is pure.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev import paths, shell
from dev.cluster import binaries, node, ports, processes, registry, s3
from dev.cluster.control_plane_programs import Ports
from dev.errors import DevError

_CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})
_MODULES = {"overlay": Path("/sys/module/overlay"), "br_netfilter": Path("/proc/sys/net/bridge")}
_GIB = 1 << 30
_DISK_FIRST = 40 * _GIB  # both images three times (builder, registry, node), and what builds them
_DISK_LATER = 10 * _GIB
_MEMORY = 8 * _GIB
_KERNEL_SHARE = _GIB // 2  # of a machine's memory, which the kernel keeps for itself and does not report
_LONGEST_STATE_PATH = 70  # a socket's path has at most 107 letters, and kubelet's begin with this path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What matters about a machine."""

    system: str
    user_id: int
    controllers: frozenset[str]
    missing_modules: frozenset[str]
    has_apt: bool
    go_release: str | None
    has_venv: bool
    memory: int
    free_disk: int
    has_cache: bool
    cache: Path
    state: Path
    foreign_listeners: Mapping[int, str]
    """Ports of the cluster that programs of others listen on, each with the program's name."""


class PreflightError(DevError):
    """The machine lacks something. The message has one line for each."""


def require() -> None:
    """Raise `PreflightError` unless this machine can run the cluster."""
    found = list(problems(look()))
    if found:
        raise PreflightError(
            "\n".join(["This machine cannot run the cluster:", *(f"- {each}" for each in found)])
        )


def problems(machine: Machine) -> Iterator[str]:
    """Say what a machine lacks, and what to do about each."""
    if machine.system != "Linux":
        yield f"It runs {machine.system}: use Linux, in a virtual machine if need be."
        return
    if machine.user_id != 0:
        yield "You are not root, whom mounts and networks need: run it with sudo."
    if missing := _CONTROLLERS - machine.controllers:
        yield (
            f"The control group controllers {_list(missing)} are missing: enable them with the kernel's"
            " command line, or delegate them to this container."
        )
    if machine.missing_modules:
        yield f"The kernel has no {_list(machine.missing_modules)}: install the kernel's modules package."
    if not machine.has_apt:
        yield "There is no apt-get: use Debian 12 or later, or a system made from it."
    if not binaries.is_recent_enough(machine.go_release):
        wanted = ".".join(map(str, binaries.GO_VERSION))
        found = machine.go_release or "none"
        yield f"Go {wanted} or later is needed to build Kubernetes, found {found}: install it."
    if not machine.has_venv:
        yield "Python cannot make virtual environments: apt-get install python3-venv."
    if machine.memory < _MEMORY - _KERNEL_SHARE:
        yield f"It has {machine.memory / _GIB:.1f} GiB of memory: {_MEMORY // _GIB} GiB are needed."
    wanted_disk = _DISK_LATER if machine.has_cache else _DISK_FIRST
    if machine.free_disk < wanted_disk:
        yield (
            f"{machine.free_disk // _GIB} GiB are free on the disk of {machine.cache}, but"
            f" {wanted_disk // _GIB} GiB are needed: make room, or set XDG_CACHE_HOME to a folder elsewhere."
        )
    if len(str(machine.state)) > _LONGEST_STATE_PATH:
        yield f"{machine.state} is too long a path for sockets: set XDG_CACHE_HOME to a shorter one."
    for port, program in sorted(machine.foreign_listeners.items()):
        yield f"Port {port} is used by {program}, which is not part of this cluster: stop it."


def look() -> Machine:
    """Read what matters about this machine."""
    cache = paths.cache()
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    return Machine(
        system=platform.system(),
        user_id=os.getuid(),
        controllers=_controllers(),
        missing_modules=frozenset(name for name, path in _MODULES.items() if not _has_module(name, path)),
        has_apt=shutil.which("apt-get") is not None,
        go_release=binaries.go_release(),
        has_venv=importlib.util.find_spec("ensurepip") is not None,
        memory=_memory(),
        free_disk=shutil.disk_usage(existing).free,
        has_cache=paths.registry_data().exists(),
        cache=cache,
        state=paths.cluster_state(),
        foreign_listeners=_foreign_listeners(),
    )


def load_modules() -> None:
    """Load the kernel modules that are not there yet."""
    for name, path in _MODULES.items():
        if not path.exists():
            shell.succeeds(["modprobe", name])


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
    return shutil.which("modprobe") is not None and shell.succeeds(["modprobe", "--dry-run", name])


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _foreign_listeners() -> dict[int, str]:
    control_plane = Ports()
    wanted = [
        *(getattr(control_plane, name) for name in Ports.__slots__),
        *(node.KUBELET_PORT, node.KUBELET_HEALTH_PORT, node.PROXY_HEALTH_PORT, node.PROXY_METRICS_PORT),
        *(registry.PORT, s3.PORT),
    ]
    ours = set(processes.marked(paths.cluster_state()))
    return {port: ports.program(pid) for port in wanted for pid in ports.listeners(port) if pid not in ours}


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
