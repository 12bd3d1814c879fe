"""Says within seconds what this machine lacks, and what to do about it.

What is judged is read in machine.py; `problems` is pure. Standard library only, since this runs as
`python3 -m dev.cluster.preflight` before anything is installed.
"""

import os
import sys
from collections.abc import Iterator
from enum import StrEnum

from dev.cluster import debian, go, installing
from dev.cluster.machine import Machine, look
from dev.cluster.network import BRIDGE
from dev.errors import DevError

_CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})
_ARCHITECTURE = "x86_64"  # of the locked wheels and of the images
_GIB = 1 << 30
_DISK_FIRST = 40 * _GIB  # both images three times (builder, registry, node), and what builds them
_DISK_IMAGES = 24 * _GIB  # without node, registry and Kubernetes
_DISK_LATER = 10 * _GIB
_DISK_CHECKOUT = 6 * _GIB  # .venv, on a disk that the caches are not on
_MEMORY = 12 * _GIB
_KERNEL_SHARE = _GIB // 2  # of a machine's memory, which the kernel keeps for itself and does not report
_LONGEST_STATE_PATH = 70  # a socket's path has at most 107 letters, and kubelet's begin with this path


class Purpose(StrEnum):
    """What the machine is to do."""

    CLUSTER = "cluster"
    """Build the images and be the cluster."""
    FOREIGN = "foreign"
    """Build the images and install them into the cluster of KUBETUNE_KUBECONFIG."""
    IMAGES = "images"
    """Build the images."""


class PreflightError(DevError):
    """The machine lacks something. The message has one line for each."""


def purpose() -> Purpose:
    """Return what the environment asks for: KUBETUNE_KUBECONFIG names a cluster elsewhere."""
    return Purpose.FOREIGN if os.environ.get("KUBETUNE_KUBECONFIG") else Purpose.CLUSTER


def require(what: Purpose = Purpose.CLUSTER) -> str:
    """Return what will be done to this machine; raise `PreflightError` unless it is fit for that."""
    machine = look(_PACKAGES[what])
    found = list(problems(machine, what))
    if found:
        raise PreflightError("\n".join([_REFUSALS[what], *(f"- {each}" for each in found)]))
    return announcement(machine, what)


_PACKAGES = {
    Purpose.CLUSTER: debian.PACKAGES,
    Purpose.FOREIGN: debian.IMAGE_PACKAGES,
    Purpose.IMAGES: debian.IMAGE_PACKAGES,
}
_REFUSALS = {
    Purpose.CLUSTER: "This machine cannot run the cluster:",
    Purpose.FOREIGN: "This machine cannot build and install KubeTune:",
    Purpose.IMAGES: "This machine cannot build the images:",
}


def problems(machine: Machine, what: Purpose = Purpose.CLUSTER) -> Iterator[str]:
    """Say what a machine lacks for a purpose, and what to do about each."""
    if machine.system != "Linux":
        yield f"It runs {machine.system}: use Linux, in a virtual machine if need be."
        return
    if machine.architecture != _ARCHITECTURE:
        yield (
            f"Its processor is {machine.architecture}: use one of x86-64, which the locked packages are for."
        )
    if machine.user_id != 0:
        yield "You are not root, whom mounts, networks and image builds need: run it with sudo."
    if not machine.has_apt:
        yield "There is no apt-get: use Debian 12, or a system made from it."
    yield from _of_disks(machine, what)
    if what is Purpose.CLUSTER and machine.runtimes:
        yield (
            f"It has {_list(machine.runtimes)}, which the cluster would get in the way of: use another"
            " machine, a virtual one if need be."
        )
    elif machine.removals:
        yield installing.refusal(machine.missing_packages, machine.removals)
    match what:
        case Purpose.CLUSTER:
            yield from _of_cluster(machine)
        case Purpose.FOREIGN if not machine.has_clients and (lack := _of_go(machine)):
            yield f"kubectl and helm are not both on PATH: put them there, or let them be built. {lack}"
        case _:
            pass


def changes(machine: Machine, what: Purpose) -> Iterator[str]:
    """Say what will be done to a machine that is fit, in a few lines; nothing where it was done before."""
    if machine.missing_packages:
        yield f"Installs Debian packages, and what they need: {', '.join(machine.missing_packages)}."
    if what is Purpose.CLUSTER and not machine.has_cluster:
        yield (
            f"Makes the network {BRIDGE}, chains of the packet filter and folders of containers; sets kernel"
            " settings, IPv4 forwarding among them, until make clean-cluster."
        )
    if not machine.has_cache:
        room = _DISK_FIRST if what is Purpose.CLUSTER else _DISK_IMAGES
        yield f"Fills {machine.cache} with up to {room // _GIB} GiB, until make clean-caches."


def announcement(machine: Machine, what: Purpose) -> str:
    """Say all that will be done to a machine, and how it is taken back."""
    if not (lines := list(changes(machine, what))):
        return "This machine lacks nothing."
    head = f"This machine is fit. What is done to it (make uninstall takes it back, {installing.PAGE}):"
    return "\n".join([head, *(f"- {line}" for line in lines)])


def _of_disks(machine: Machine, what: Purpose) -> Iterator[str]:
    first = _DISK_FIRST if what is Purpose.CLUSTER else _DISK_IMAGES
    wanted = _DISK_LATER if machine.has_cache else first
    if machine.free_disk < wanted:
        yield (
            f"{machine.free_disk // _GIB} GiB are free on the disk of {machine.cache}, but"
            f" {wanted // _GIB} GiB are needed: make room, or set XDG_CACHE_HOME to a folder elsewhere."
        )
    if machine.free_checkout is not None and machine.free_checkout < _DISK_CHECKOUT:
        yield (
            f"{machine.free_checkout // _GIB} GiB are free on the disk of {machine.checkout}, but its .venv"
            f" needs {_DISK_CHECKOUT // _GIB} GiB: make room, or clone to a disk that has it."
        )


def _of_cluster(machine: Machine) -> Iterator[str]:
    if missing := _CONTROLLERS - machine.controllers:
        yield (
            f"The control group controllers {_list(missing)} are missing: enable them with the kernel's"
            " command line, or delegate them to this container."
        )
    if machine.missing_modules:
        yield f"The kernel has no {_list(machine.missing_modules)}: install the kernel's modules package."
    if lack := _of_go(machine):
        yield lack
    if machine.memory < _MEMORY - _KERNEL_SHARE:
        yield f"It has {machine.memory / _GIB:.1f} GiB of memory: {_MEMORY // _GIB} GiB are needed."
    if len(str(machine.state)) > _LONGEST_STATE_PATH:
        yield f"{machine.state} is too long a path for sockets: set XDG_CACHE_HOME to a shorter one."
    for port, program in sorted(machine.foreign_listeners.items()):
        yield f"Port {port} is used by {program}, which is not part of this cluster: stop it."


def _of_go(machine: Machine) -> str | None:
    if go.is_recent_enough(machine.go_release):
        return None
    wanted, found = ".".join(map(str, go.VERSION)), machine.go_release or "none"
    return (
        f"Go {wanted} or later is needed to build Kubernetes, found {found}: install it from"
        " https://go.dev/dl and put it on PATH."
    )


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


if __name__ == "__main__":
    try:
        said = require(Purpose(sys.argv[1]) if len(sys.argv) > 1 else purpose())
    except PreflightError as error:
        sys.exit(str(error))
    print(said, file=sys.stderr)
