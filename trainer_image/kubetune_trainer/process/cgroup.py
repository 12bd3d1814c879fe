"""What the container's control group says: processes killed for memory, and the CPU limit.

A container sees its own group at /sys/fs/cgroup, of version 2 (one tree) or version 1 (one tree per
controller)."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def oom_kills(root: Path = CGROUP_ROOT) -> int:
    """Processes of this container that the kernel has killed for memory; 0 when it does not say."""
    for path in (root / "memory.events", root / "memory" / "memory.oom_control"):
        for line in _read(path).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.isdigit():
                return int(value)
    return 0


def usable_cores(root: Path = CGROUP_ROOT) -> int:
    """Cores that this container may use: its CPU limit when there is one, else what it is scheduled on."""
    available = len(os.sched_getaffinity(0))
    limit = _cpu_limit(root)
    return available if limit is None else max(1, min(available, math.ceil(limit)))


def _cpu_limit(root: Path) -> float | None:
    fields = _read(root / "cpu.max").split()  # version 2: "max 100000" or "200000 100000"
    if not fields:
        fields = [_read(root / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = (int(field) for field in fields)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None  # version 1 says -1 for no limit


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
