"""The loss curve of the training that made what is evaluated, short enough for a page."""

from __future__ import annotations

import itertools
from typing import Any

from ..contract.layout import RunDirectory
from ..loop import records

POINTS = 500

Point = tuple[int, float | None, float | None]
"""Step, training loss and validation loss."""


def curve(run: RunDirectory) -> tuple[Point, ...]:
    """At most POINTS points in the order of steps; none where nothing was trained.

    Validation losses are those of all validation rows, where these were scored, else those of the sample.
    """
    steps: dict[int, dict[str, Any]] = {}
    for line in records.read(run.metrics_file):
        steps.setdefault(line["step"], {}).update(line)
    full = any("full_validation_loss" in line for line in steps.values())
    key = "full_validation_loss" if full else "validation_loss"
    points = [(step, line.get("loss"), line.get(key)) for step, line in sorted(steps.items())]
    groups = min(POINTS, len(points))
    edges = [len(points) * index // groups for index in range(groups + 1)] if groups else [0]
    return tuple(_merged(points[begin:end]) for begin, end in itertools.pairwise(edges))


def _merged(points: list[Point]) -> Point:
    """The mean of neighbours' training losses, and their last validation loss."""
    trained = [loss for _, loss, _ in points if loss is not None]
    scored = [loss for _, _, loss in points if loss is not None]
    mean = round(sum(trained) / len(trained), 6) if trained else None
    return points[-1][0], mean, scored[-1] if scored else None
