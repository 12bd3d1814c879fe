"""What people meet first: how long ``kubetune --help`` takes, and how large the operator's image is."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dev import shell
from dev.bench.figures import Figure, median, spread
from dev.images import buildah
from dev.progress import note

PART: Final = "cli"
HELP: Final = 0.3
IMAGE: Final = 300
_IMAGE: Final = "localhost/kubetune/operator"
_TIMES: Final = 15


def measure() -> list[Figure]:
    """Run the command some times, and look at the newest image."""
    _seconds()  # the first reads files from the disk
    before = _cpu()
    times = [_seconds() for _ in range(_TIMES)]
    cpu = 1000 * (_cpu() - before) / len(times)
    figures = [
        Figure(
            part=PART, name="kubetune --help", value=median(times), unit="s", bar=HELP, note=spread(times)
        ),
        Figure(part=PART, name="- its processor time", value=cpu, unit="ms"),
    ]
    sizes = list(_sizes())
    if not sizes:
        note("   no operator image here: `.venv/bin/python -m dev images --only operator` builds it")
    return figures + [
        Figure(part=PART, name="operator image, uncompressed", value=size, unit="MB", bar=IMAGE)
        for size in sizes[:1]
    ]


def _seconds() -> float:
    program = Path(sys.executable).with_name("kubetune")
    start = time.perf_counter()
    subprocess.run([program, "--help"], check=True, capture_output=True)
    return time.perf_counter() - start


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sizes() -> Iterator[float]:
    """Sizes of the operator's images in the local store in MB, the newest first."""
    if shutil.which("buildah") is None:
        return
    try:
        listed = json.loads(shell.output(buildah.command("images", "--json", _IMAGE)))
    except shell.CommandError:  # there is none
        return
    for image in sorted(listed, key=lambda image: -int(image["created"])):
        number, unit = str(image["size"]).split()
        yield float(number) * {"kB": 0.001, "MB": 1.0, "GB": 1000.0}[unit]
