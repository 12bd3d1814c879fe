"""What a person chose on a dashboard: values of its variables and the time shown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dev.errors import DevError
from dev.viewer.dashboard import Dashboard, Panel
from dev.viewer.prometheus import Prometheus

_NAMED = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_POINTS = 300
"""Of a graph that does not say how many at most."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The time shown, in Unix seconds, and how often Prometheus scrapes."""

    start: float
    end: float
    scrape: float = 15.0
    least: float = 0.0
    """Seconds that a panel wants between two points at least,"""
    points: int = _POINTS
    """and how many points at most."""

    @property
    def step(self) -> float:
        """Seconds between two points of a graph."""
        return max(self.scrape, self.least, math.ceil((self.end - self.start) / self.points))

    def of(self, panel: Panel) -> Shown:
        """Return the same as a panel wants it."""
        least = seconds(panel.interval) if panel.interval else self.least
        return replace(self, least=least, points=panel.most_points or self.points)

    def variables(self) -> dict[str, str]:
        """Return the variables that Grafana itself gives to queries of Prometheus."""
        rate = max(self.step + self.scrape, 4 * self.scrape)
        return {
            "__interval": f"{self.step:.0f}s",
            "__rate_interval": f"{rate:.0f}s",
            "__range": f"{self.end - self.start:.0f}s",
        }


def seconds(text: str) -> int:
    """Return the seconds of a duration such as 90s, 30m, 6h or 2d. Raises DevError for anything else."""
    found = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if found is None:
        raise DevError(f"{text} is no duration: say it as 90s, 30m, 6h or 2d.")
    return int(found[1]) * _UNITS[found[2]]


def choose(
    board: Dashboard, prometheus: Prometheus, shown: Shown, wanted: Mapping[str, str]
) -> dict[str, str]:
    """Return the values of a dashboard's variables, in their order.

    One that is not in `wanted` is All where the dashboard has that, else the first that Prometheus knows.
    Raises DevError for a value that Prometheus does not know.
    """
    chosen: dict[str, str] = {}
    for variable in board.variables:
        selector = interpolate(variable.selector, shown.variables() | chosen)
        known = prometheus.label_values(selector, variable.of_label, shown.start, shown.end)
        value = wanted.get(variable.name)
        if value is not None and known and value not in known:
            raise DevError(f"Prometheus knows no {variable.label} {value}, but {', '.join(known[:20])}.")
        chosen[variable.name] = value or variable.all_value or next(iter(known), "")
    return chosen


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of $name and ${name}. Raises DevError for a name that has none."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise DevError(f"{text} has the variable {name}, which nothing gives a value.")
        return values[name]

    return _NAMED.sub(value, text)
