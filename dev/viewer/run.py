"""Draws the chart's dashboards with what a Prometheus has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev import paths
from dev.viewer.dashboard import Dashboard, Panel, Target, read
from dev.viewer.page import Answers, draw
from dev.viewer.prometheus import Prometheus, Series
from dev.viewer.theme import THEMES
from dev.viewer.variables import Shown, choose, interpolate

FOLDER = paths.REPOSITORY / "charts" / "kubetune" / "files" / "dashboards"


def ask(board: Dashboard, prometheus: Prometheus, chosen: Mapping[str, str], shown: Shown) -> list[Answers]:
    """Run all queries of all panels, in the panels' order. Raises DevError for what Prometheus refuses."""

    def one(panel: Panel, target: Target) -> list[Series]:
        of_panel = shown.of(panel)
        expr = interpolate(target.expr, {**of_panel.variables(), **chosen})
        if target.instant:
            return prometheus.at(expr, shown.end)
        return prometheus.between(expr, shown.start, shown.end, of_panel.step)

    return [{target.letter: one(panel, target) for target in panel.targets} for panel in board.panels]


def view(
    url: str, out: Path, wanted: Mapping[str, str], *, seconds: int, end: float | None, scrape: float
) -> Sequence[Path]:
    """Write dashboard-NAME-light.png and -dark.png of each dashboard, and return their paths."""
    until = time.time() if end is None else end
    shown = Shown(until - seconds, until, scrape)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with Prometheus(url) as prometheus:
        for path in sorted(FOLDER.glob("*.json")):
            board = read(path)
            chosen = choose(board, prometheus, shown, wanted)
            answers = ask(board, prometheus, chosen, shown)
            for theme in THEMES:
                written.append(out / f"dashboard-{path.stem}-{theme.name}.png")
                draw(board, answers, chosen, shown, theme, written[-1])
    return written
