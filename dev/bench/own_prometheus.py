"""A Prometheus by itself, over series from a file, beside the local cluster's and without it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev import shell
from dev.cluster.ports import free_ports
from dev.errors import DevError
from dev.viewer.prometheus import Prometheus

_SECONDS = 60.0


def is_here() -> bool:
    """Tell whether this machine has the programs; `make cluster` installs them."""
    return shell.which("prometheus") is not None and shell.which("promtool") is not None


def make_blocks(openmetrics: Path, folder: Path) -> None:
    """Make Prometheus' blocks of a file of samples."""
    shell.output(["promtool", "tsdb", "create-blocks-from", "openmetrics", openmetrics, folder])


@dataclass(frozen=True, slots=True)
class Running:
    """A Prometheus that runs."""

    url: str
    pid: int


@contextlib.contextmanager
def prometheus_over(folder: Path) -> Iterator[Running]:
    """Run Prometheus over a folder of blocks, which may be empty, until the block ends."""
    program = shell.which("prometheus")
    if program is None:
        raise DevError("The program prometheus is missing: `make cluster` installs it.")
    config = folder / "prometheus.yaml"
    config.write_text("{}")
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    argv = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}",
        "--storage.tsdb.retention.time=100y",  # samples may be of any time
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=warn",
    ]
    log = folder / "prometheus.log"
    with log.open("w") as sink:
        process = subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT)
    try:
        _wait(url, process, log)
        yield Running(url, process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    with Prometheus(url) as prometheus:
        while True:
            try:
                prometheus.at("vector(1)", time.time())
            except DevError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise DevError(f"Prometheus did not start:\n{shell.tail(log)}") from None
                time.sleep(0.05)
            else:
                return
