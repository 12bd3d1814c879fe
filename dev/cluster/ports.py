"""Owns the ports that the cluster listens on, and knows which others are free and who listens there.

Standard library only: the preflight reads it before anything is installed.
"""

import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

KUBELET = 10250
KUBELET_HEALTH = 10248
PROXY_HEALTH = 10256
PROXY_METRICS = 10249
REGISTRY = 5000
S3 = 7070

# Below those that the kernel lends to clients: one would be in a server's place while it restarts.
_FREE = range(15_000, 30_000)

_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where the programs of one control plane listen."""

    apiserver: int = 6443
    etcd: int = 2379
    etcd_peers: int = 2380
    controller_manager: int = 10257
    scheduler: int = 10259

    @classmethod
    def free(cls) -> Self:
        """Return ports that nothing uses now."""
        apiserver, etcd, etcd_peers, controller_manager, scheduler = free_ports(5)
        return cls(
            apiserver=apiserver,
            etcd=etcd,
            etcd_peers=etcd_peers,
            controller_manager=controller_manager,
            scheduler=scheduler,
        )


def of_cluster() -> list[int]:
    """Return all fixed ports of the local cluster."""
    control_plane = Ports()
    return [
        *(getattr(control_plane, name) for name in Ports.__slots__),
        *(KUBELET, KUBELET_HEALTH, PROXY_HEALTH, PROXY_METRICS, REGISTRY, S3),
    ]


def free_ports(count: int, *, among: Sequence[int] = _FREE) -> list[int]:
    """Return distinct ports of the loopback address that nothing listens on and nobody else was given."""
    found: list[int] = []
    for port in random.sample(among, len(among)):
        if len(found) == count:
            break
        with socket.socket() as each, suppress(OSError):  # somebody has it
            each.bind(("127.0.0.1", port))
            _claim(port)
            found.append(port)
    return found


def _claim(port: int) -> None:
    """Keep a port from others until this process ends.

    Its server starts later than it is chosen, and some are stopped and started again.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        claim.bind(f"\0kubetune-port-{port}")  # an abstract name is there as long as its socket
        claim.detach()  # open until the end


def listeners(port: int) -> set[int]:
    """Return the ids of the processes that listen on a port, on any address."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    return {pid for pid, inode in _socket_inodes() if inode in inodes} if inodes else set()


def program(pid: int) -> str:
    """Return the name of a process, for people."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process that has ended"


def _listening_inodes(table: str, port: int) -> Iterator[str]:
    try:
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    except OSError:  # no IPv6
        return
    for line in lines:
        fields = line.split()
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]


def _socket_inodes() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:  # it has ended, or is not ours to read
            continue
        for target in links:
            if target.startswith("socket:["):
                yield int(process.name), target[len("socket:[") : -1]
