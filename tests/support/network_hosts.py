"""Hosts that are network namespaces, with wires between them: they end with the processes that hold them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from dev.paths import REPOSITORY

_HOLD = "mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec sleep infinity"
_LISTEN = """
import socket, sys, threading
def serve(address, port):
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    listener = socket.create_server((address, port), family=family, dualstack_ipv6=six)
    def answer():
        while True:
            connection, (peer, *_) = listener.accept()
            connection.sendall(peer.encode())
            connection.close()
    threading.Thread(target=answer).start()
for argument in sys.argv[1:]:
    address, _, port = argument.rpartition("_")
    serve(address, int(port))
print("ready", flush=True)
"""
_ASK = """
import json, socket, sys
def ask(address, port):
    try:
        with socket.create_connection((address, int(port)), timeout=1) as connection:
            return connection.recv(100).decode() if sys.argv[1] == "ask" else True
    except OSError:
        return None if sys.argv[1] == "ask" else False
print(json.dumps([ask(*each.rsplit("_", 1)) for each in sys.argv[2:]]))
"""
_PATIENCE = 120.0  # seconds: a bound on a wait, not a claim


@dataclass(frozen=True, slots=True)
class Host:
    """One host."""

    pid: int
    _stack: ExitStack = field(repr=False)

    def __call__(self, *argv: str) -> str:
        """Run a command on it, which has to succeed."""
        result = subprocess.run(self._command(argv), capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def python(self, code: str, *arguments: str) -> str:
        """Run code of this checkout on it."""
        return self(
            sys.executable, "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{code}", *arguments
        )

    def listen(self, *addresses: tuple[str, int]) -> None:
        """Have programs on it that tell who asks."""
        arguments = [f"{address}_{port}" for address, port in addresses]
        self._stack.enter_context(_running([*self._command([sys.executable, "-c", _LISTEN]), *arguments]))

    def asks(self, *addresses: tuple[str, int]) -> list[str | None]:
        """Ask programs who asks; None for each that does not answer."""
        return list(self._ask("ask", addresses))

    def connects(self, *addresses: tuple[str, int]) -> list[bool]:
        """Tell for each address whether there is a connection to be had."""
        return list(self._ask("connect", addresses))

    def wait_for(self, *addresses: tuple[str, int]) -> None:
        """Return when programs at all addresses answer."""
        end = time.monotonic() + _PATIENCE
        while None in (answers := self.asks(*addresses)):
            assert time.monotonic() < end, f"{addresses} answer {answers}"
            time.sleep(0.2)

    def _ask(self, how: str, addresses: tuple[tuple[str, int], ...]) -> list[Any]:
        arguments = [f"{address}_{port}" for address, port in addresses]
        return list(json.loads(self.python(_ASK, how, *arguments)))

    def wire(self, name: str, address: str, other: Host, other_name: str, other_address: str = "") -> None:
        """Connect it with another."""
        peer = ["peer", "name", other_name, "netns", str(other.pid)]
        self("ip", "link", "add", name, "type", "veth", *peer)
        for host, link, given in ((self, name, address), (other, other_name, other_address)):
            if given:
                host("ip", "addr", "add", given, "dev", link)
            host("ip", "link", "set", link, "up")

    def _command(self, argv: list[str] | tuple[str, ...]) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", *argv]


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Make hosts that are connected with nothing."""
    with ExitStack() as stack:
        command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _HOLD]
        yield [Host(stack.enter_context(_running(command)), stack) for _ in range(count)]


@contextmanager
def _running(command: list[str]) -> Iterator[int]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()
