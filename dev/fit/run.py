"""Runs a case in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys

from dev.cluster.ports import free_ports
from dev.errors import DevError
from dev.fit.case import Case, Measured

_LINES = 15


def run(case: Case, *, timeout: float = 600) -> Measured:
    """Train it, and return what it took; raises DevError with the end of its output when it fails."""
    environment = {
        "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",  # as the launcher sets it
        **os.environ,
        "DS_ACCELERATOR": "cuda" if case.on_gpu else "cpu",
        "TORCHDYNAMO_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_ports(1)[0]),
    }
    command = [sys.executable, "-m", "dev.fit.child", case.model_dump_json()]
    try:
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise DevError(f"{case.name} took more than {timeout:.0f} s") from None
    if ended.returncode:
        said = "\n".join(ended.stderr.splitlines()[-_LINES:])
        raise DevError(f"{case.name} ended with {ended.returncode}:\n{said}")
    return Measured.model_validate_json(ended.stdout.splitlines()[-1])
