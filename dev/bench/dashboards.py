"""How long the queries of each dashboard take together, on a Prometheus of its own with many jobs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from dev.bench import own_prometheus, series
from dev.bench.figures import Figure, median, spread
from dev.dashboards.write import FOLDER
from dev.errors import DevError
from dev.progress import note, step
from dev.viewer.dashboard import read
from dev.viewer.prometheus import Prometheus
from dev.viewer.run import ask
from dev.viewer.variables import Shown, choose

PART: Final = "dashboards"
_BAR: Final = 1.0
_BLOCK: Final = 7200
"""Seconds of a block of Prometheus: a file of samples for each is not too large."""
_BLOCKS: Final = 3
"""The six hours that a dashboard shows at first."""


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
        with own_prometheus.prometheus_over(folder) as url, Prometheus(url) as prometheus:
            return [_figure(path, prometheus, fleet, repeats) for path in sorted(FOLDER.glob("*.json"))]


def _block(fleet: series.Fleet, folder: Path, block: int) -> int:
    path = folder / "series.txt"
    start = fleet.start + block * _BLOCK
    count = series.write(fleet, path, range(start, start + _BLOCK, fleet.every))
    own_prometheus.make_blocks(path, folder)
    path.unlink()
    return count


def _figure(path: Path, prometheus: Prometheus, fleet: series.Fleet, repeats: int) -> Figure:
    board = read(path)
    shown = Shown(fleet.start, fleet.end, scrape=fleet.every)
    chosen = choose(board, prometheus, shown, {})
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        ask(board, prometheus, chosen, shown)
        seconds.append(time.perf_counter() - begun)
    queries = sum(len(panel.targets) for panel in board.panels)
    return Figure(
        part=PART,
        name=f"{path.stem}: {queries} queries, one after another",
        value=median(seconds),
        unit="s",
        bar=_BAR,
        note=spread(seconds),
    )
