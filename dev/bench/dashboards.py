"""How long the queries of each dashboard take together, on a Prometheus of its own with many jobs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from dev.bench import own_prometheus, series
from dev.bench.figures import Figure, median, spread
from dev.bench.machine import cpu_seconds
from dev.dashboards.write import FOLDER
from dev.errors import DevError
from dev.progress import note, step
from dev.viewer.dashboard import read
from dev.viewer.prometheus import Prometheus
from dev.viewer.run import ask
from dev.viewer.variables import Shown, choose
from dev.viewer.variables import seconds as duration

PART: Final = "dashboards"
_BAR: Final = 1.0
_BLOCK: Final = 7200
"""Seconds of a block of Prometheus: a file of samples for each is not too large."""
_BLOCKS: Final = 3
"""Six hours, the most that a dashboard shows at first."""


def measure(*, jobs: int, repeats: int) -> list[Figure]:
    """Make the series, and ask each dashboard's queries one after another."""
    if not own_prometheus.is_here():
        raise DevError("The programs prometheus and promtool are missing: `make cluster` installs them.")
    end = int(time.time()) // _BLOCK * _BLOCK
    fleet = series.Fleet(jobs=jobs, start=end - _BLOCKS * _BLOCK, end=end - 60)
    with tempfile.TemporaryDirectory(prefix="kubetune-bench-") as made:
        folder = Path(made)
        with step(f"Make six hours of series of {jobs} jobs"):
            samples = sum(_block(fleet, folder, block) for block in range(_BLOCKS))
        note(f"   {samples / 1e6:.1f} million samples, one a minute")
        with own_prometheus.prometheus_over(folder) as running, Prometheus(running.url) as prometheus:
            boards = sorted(FOLDER.glob("*.json"))
            return [f for path in boards for f in _figures(path, prometheus, running.pid, fleet, repeats)]


def _block(fleet: series.Fleet, folder: Path, block: int) -> int:
    path = folder / "series.txt"
    start = fleet.start + block * _BLOCK
    count = series.write(fleet, path, range(start, start + _BLOCK, fleet.every))
    own_prometheus.make_blocks(path, folder)
    path.unlink()
    return count


def _figures(path: Path, prometheus: Prometheus, pid: int, fleet: series.Fleet, repeats: int) -> list[Figure]:
    board = read(path)
    shown = Shown(fleet.end - duration(board.shown), fleet.end, scrape=fleet.every)
    chosen = choose(board, prometheus, shown, {})
    seconds = []
    worked = cpu_seconds(pid)
    for _ in range(repeats):
        begun = time.perf_counter()
        ask(board, prometheus, chosen, shown)
        seconds.append(time.perf_counter() - begun)
    worked = (cpu_seconds(pid) - worked) / repeats
    queries = sum(len(panel.targets) for panel in board.panels)
    return [
        Figure(
            part=PART,
            name=f"{path.stem}: {queries} queries of {board.shown} in turn",
            value=median(seconds),
            unit="s",
            bar=_BAR,
            note=spread(seconds),
        ),
        Figure(part=PART, name=f"{path.stem}: processor time of Prometheus", value=worked, unit="s"),
    ]
