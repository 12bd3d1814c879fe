"""Knows which ports are free, and who listens on the others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


def free_ports(count: int) -> list[int]:
    """Return distinct ports of the loopback address that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


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
