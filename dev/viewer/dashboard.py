"""A dashboard's JSON, read into what is drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.errors import DevError

KINDS = ("row", "timeseries", "stat", "bargauge", "table")
"""Types of panels that can be drawn."""

_TRANSFORMATIONS = ("merge", "organize")

Threshold = tuple[float, str]
"""From which value on there is a colour; the first is minus infinity."""


@dataclass(frozen=True, slots=True)
class Target:
    """A query of a panel."""

    letter: str
    expr: str
    legend: str
    instant: bool


@dataclass(frozen=True, slots=True)
class Field:
    """How values are shown."""

    unit: str = "short"
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    thresholds: Sequence[Threshold] = ()
    link: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel and its place."""

    kind: str
    title: str
    description: str
    x: int
    y: int
    width: int
    height: int
    """In units of the grid, of which 24 make up the width of a page."""
    targets: Sequence[Target] = ()
    defaults: Field = Field()
    overrides: Mapping[str, Field] = field(default_factory=dict)
    """By the name of a column."""
    custom: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    interval: str = ""
    """The least time between two points, such as 2m."""
    most_points: int | None = None
    organize: Mapping[str, Any] | None = None
    """Options of the transformation that names, orders and hides columns."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that is asked for: the values of a label of some series."""

    name: str
    label: str
    selector: str
    of_label: str
    all_value: str | None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """All of a file."""

    uid: str
    title: str
    shown: str
    """The time that is shown at first, such as 6h."""
    variables: Sequence[Variable]
    panels: Sequence[Panel]


def read(path: Path) -> Dashboard:
    """Read a file. Raises DevError for what the viewer cannot draw."""
    return parse(json.loads(path.read_text()))


def parse(raw: Mapping[str, Any]) -> Dashboard:
    """Return a dashboard. Raises DevError for what the viewer cannot draw."""
    variables = [_variable(each) for each in raw["templating"]["list"] if each["type"] != "datasource"]
    shown = raw["time"]["from"].removeprefix("now-")
    return Dashboard(raw["uid"], raw["title"], shown, variables, [_panel(each) for each in raw["panels"]])


def _variable(raw: Mapping[str, Any]) -> Variable:
    query = raw["query"]["query"] if raw["type"] == "query" else ""
    if not (query.startswith("label_values(") and query.endswith(")") and ", " in query):
        raise DevError(
            f"The variable {raw['name']} is none of label_values(SERIES, LABEL): it cannot be asked."
        )
    selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    all_value = raw["allValue"] if raw.get("includeAll") else None
    return Variable(raw["name"], raw["label"], selector, label, all_value)


def _panel(raw: Mapping[str, Any]) -> Panel:
    kind, place = raw["type"], raw["gridPos"]
    where = (place["x"], place["y"], place["w"], place["h"])
    if kind not in KINDS:
        raise DevError(
            f"The viewer cannot draw a panel of type {kind} ({raw['title']}), but {', '.join(KINDS)}."
        )
    if kind == "row":
        if raw.get("collapsed") or raw.get("panels"):
            raise DevError(f"The viewer cannot draw the collapsed row {raw['title']}.")
        return Panel(kind, raw["title"], "", *where)
    transformations = raw.get("transformations") or []
    for transformation in transformations:
        if transformation["id"] not in _TRANSFORMATIONS:
            raise DevError(f"The viewer knows no transformation {transformation['id']} ({raw['title']}).")
    config = raw["fieldConfig"]
    defaults = _field(config["defaults"])
    return Panel(
        kind,
        raw["title"],
        raw.get("description", ""),
        *where,
        targets=[_target(each) for each in raw["targets"]],
        defaults=defaults,
        overrides={_name(each): _overridden(defaults, each["properties"]) for each in config["overrides"]},
        custom=config["defaults"].get("custom") or {},
        options=raw.get("options") or {},
        interval=raw.get("interval") or "",
        most_points=raw.get("maxDataPoints"),
        organize=next((each["options"] for each in transformations if each["id"] == "organize"), None),
    )


def _target(raw: Mapping[str, Any]) -> Target:
    return Target(raw["refId"], raw["expr"], raw.get("legendFormat", ""), bool(raw.get("instant")))


def _field(raw: Mapping[str, Any]) -> Field:
    steps = (raw.get("thresholds") or {}).get("steps") or ()
    thresholds = [
        (float("-inf") if step["value"] is None else float(step["value"]), step["color"]) for step in steps
    ]
    return Field(raw.get("unit", "short"), raw.get("decimals"), raw.get("min"), raw.get("max"), thresholds)


def _name(override: Mapping[str, Any]) -> str:
    matcher = override["matcher"]
    if matcher["id"] != "byName":
        raise DevError(f"The viewer knows no override {matcher['id']}.")
    return str(matcher["options"])


def _overridden(defaults: Field, properties: Sequence[Mapping[str, Any]]) -> Field:
    values = {each["id"]: each["value"] for each in properties}
    if unknown := values.keys() - {"unit", "decimals", "links"}:
        raise DevError(f"The viewer knows no override of {', '.join(sorted(unknown))}.")
    return Field(
        values.get("unit", defaults.unit),
        values.get("decimals", defaults.decimals),
        defaults.low,
        defaults.high,
        defaults.thresholds,
        link="links" in values,
    )
