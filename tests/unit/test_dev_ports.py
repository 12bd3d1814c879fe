"""Ports that tests and benchmarks give to programs which start later, while others do the same."""

from __future__ import annotations

import subprocess
import sys

from dev.cluster.ports import free_ports
from dev.paths import REPOSITORY

_HOLDS_ONE = """
from dev.cluster.ports import free_ports
print(*free_ports(1), flush=True)
input()
"""


def test_a_port_is_given_to_one_process_until_it_ends() -> None:
    command = [sys.executable, "-c", _HOLDS_ONE]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        port = int(holder.stdout.readline())
        assert free_ports(1, among=[port]) == []
        holder.communicate("\n")
    assert free_ports(1, among=[port]) == [port]


def test_a_process_is_given_each_port_once() -> None:
    (port,) = free_ports(1)
    assert free_ports(1, among=[port]) == []
