"""What a process costs, and on which core it runs. Reads /proc only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Which core is whose; the same one when the machine has no second."""

    control_plane: int
    others: int


def cores() -> Cores:
    """Give the control plane the first core that this process may use, and everything else the second."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(control_plane=allowed[0], others=allowed[min(1, len(allowed) - 1)])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this thread on one core while the block runs; what is started in the block stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(*pids: int) -> float:
    """Return the processor time that processes have used since they were started."""
    return sum(_cpu_ticks(pid) for pid in pids) / _TICKS


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Return a field of /proc/<pid>/status in MiB: VmRSS now, VmHWM at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} has no {field}")


def describe() -> str:
    """Name the machine, for people who compare numbers."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "?")
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores, {int(total.split()[1]) / 2**20:.0f} GiB, "
        f"Linux {os.uname().release}, load {load:.1f} at the start"
    )


def _cpu_ticks(pid: int) -> int:
    # The second field is the program's name in brackets, and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
