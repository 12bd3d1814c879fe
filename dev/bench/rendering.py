"""How long helm takes to render the chart, and to refuse a value that it does not know."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dev.bench.figures import Figure, median, spread
from dev.chart import CHART
from dev.cluster.binaries import KUBERNETES_VERSION, ensure_binaries

PART: Final = "chart"
BAR: Final = 1.0
"""Seconds."""
_TIMES: Final = 7
_UNKNOWN: Final = ("--set", "settings.traineImage.tag=t1")


def measure() -> list[Figure]:
    """Run `helm template`: a process, with the chart read from the disk."""
    helm = ensure_binaries().program("helm")
    rendered = [_seconds(helm, (), succeeds=True) for _ in range(_TIMES)]
    refused = [_seconds(helm, _UNKNOWN, succeeds=False) for _ in range(_TIMES)]
    return [
        _figure("helm renders the chart", rendered, bar=BAR),
        _figure("- helm refuses an unknown value with the nearest", refused),
    ]


def _seconds(helm: Path, values: Sequence[str], *, succeeds: bool) -> float:
    # A helm that is not built by its own project takes an old Kubernetes for granted.
    command = [helm, "template", "kubetune", CHART, "--kube-version", KUBERNETES_VERSION, *values]
    start = time.monotonic()
    result = subprocess.run([str(part) for part in command], capture_output=True, check=False, text=True)
    took = time.monotonic() - start
    if (result.returncode == 0) is not succeeds:
        raise RuntimeError(f"helm template exited {result.returncode}: {result.stderr.strip()}")
    return took


def _figure(name: str, seconds: list[float], *, bar: float | None = None) -> Figure:
    return Figure(part=PART, name=name, value=median(seconds), unit="s", bar=bar, note=spread(seconds))
