"""Panels with all that a reader needs: description, unit, legend and thresholds are never left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dev.dashboards.limits import PLAIN, Limits
from dev.dashboards.query import Query

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

_Panel = TypeVar("_Panel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What every panel has."""

    title: str
    description: str
    """What it says, and what to do about it, in a sentence or two."""
    unit: str
    """Grafana's name of a unit."""
    queries: Sequence[Query]
    limits: Limits = PLAIN
    width: int = 8
    """Of 24 columns."""
    height: int = 8
    decimals: int | None = None
    """None: as many as a value needs. 0 for what is counted."""
    low: float | None = 0
    """Where the axis begins; None: at the lowest value."""
    high: float | None = None
    points: int = 100
    """Of a graph, at most: each is a look at all series that a query reads."""


def graph(
    panel: Panel, *, stacked: bool = False, bars: bool = False, points: bool = False
) -> timeseries.Panel:
    """Return lines over time; bars for what happens now and then, points for what is rarely measured."""
    made = _common(timeseries.Panel(), panel)
    style = shapes.GraphDrawStyle.LINE
    if bars or points:
        style = shapes.GraphDrawStyle.BARS if bars else shapes.GraphDrawStyle.POINTS
    made.max_data_points(panel.points)
    made.draw_style(style).line_width(1 if stacked else 2).point_size(6)
    made.fill_opacity(80 if bars else 30 if stacked else 0).span_nulls(False)
    made.show_points(shapes.VisibilityMode.ALWAYS if points else shapes.VisibilityMode.AUTO)
    made.color_scheme(build.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    if bars:
        # Windows as wide as the bars: what happened once is seen once.
        made.interval("2m")
    if stacked:
        made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    lines = (
        shapes.GraphThresholdsStyleMode.DASHED if panel.limits.steps else shapes.GraphThresholdsStyleMode.OFF
    )
    made.thresholds_style(common.GraphThresholdsStyleConfig().mode(lines))
    made.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull"])
    )
    several = shapes.TooltipDisplayMode.MULTI if len(panel.queries) > 1 else shapes.TooltipDisplayMode.SINGLE
    return made.tooltip(common.VizTooltipOptions().mode(several).sort(shapes.SortOrder.DESCENDING))


def number(panel: Panel, *, named: bool = False) -> stat.Panel:
    """Return one number for each series; with `named` the series' name in its place."""
    made = _common(stat.Panel(), panel)
    made.color_scheme(build.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    made.color_mode(shapes.BigValueColorMode.VALUE).graph_mode(shapes.BigValueGraphMode.NONE)
    several = len(panel.queries) > 1 or "{{" in panel.queries[0].legend
    shown = shapes.BigValueTextMode.VALUE_AND_NAME if several else shapes.BigValueTextMode.VALUE
    made.text_mode(shapes.BigValueTextMode.NAME if named else shown)
    return made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def bars(panel: Panel) -> bargauge.Panel:
    """Return a bar for each series, with its name before it."""
    made = _common(bargauge.Panel(), panel)
    made.color_scheme(build.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    made.orientation(shapes.VizOrientation.HORIZONTAL).display_mode(shapes.BarGaugeDisplayMode.BASIC)
    made.name_placement(shapes.BarGaugeNamePlacement.LEFT).show_unfilled(True)
    return made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How a column of a table is called and shown; its order is that of the table's columns."""

    title: str
    unit: str = ""
    decimals: int | None = None
    link: Mapping[str, object] | None = None


def rows(
    panel: Panel, columns: Mapping[str, Column], *, sort: str, hidden: Sequence[str] = ()
) -> table.Panel:
    """Return a table of several queries, joined by the labels that they have in common.

    Other labels than those of `columns` become columns under their own names, behind these.
    """
    made = _common(table.Panel(), panel, tables=True)
    made.filterable(True).cell_height(shapes.TableCellHeight.SM)
    made.footer(common.TableFooterOptions().show(False).enable_pagination(True))
    made.sort_by([common.TableSortByFieldState().display_name(sort).desc(False)])
    made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    organize = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {name: place for place, name in enumerate(columns)},
        "renameByName": {name: column.title for name, column in columns.items()},
    }
    made.with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
    for column in columns.values():
        properties = []
        if column.unit:
            properties.append(models.DynamicConfigValue(id_val="unit", value=column.unit))
        if column.decimals is not None:
            properties.append(models.DynamicConfigValue(id_val="decimals", value=column.decimals))
        if column.link is not None:
            properties.append(models.DynamicConfigValue(id_val="links", value=[column.link]))
        if properties:
            made.override_by_name(column.title, properties)
    return made


def _common(made: _Panel, panel: Panel, *, tables: bool = False) -> _Panel:
    made.title(panel.title).description(panel.description).datasource(DATASOURCE)
    made.unit(panel.unit).thresholds(panel.limits.build()).span(panel.width).height(panel.height)
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if not tables:
        if panel.low is not None:
            made.min(panel.low)
        if panel.high is not None:
            made.max(panel.high)
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        target = prometheus.Dataquery().datasource(DATASOURCE).ref_id(letter)
        target.expr(query.expr).legend_format(query.legend)
        target.format(PromQueryFormat.TABLE if tables else PromQueryFormat.TIME_SERIES)
        made.with_target(target.instant() if query.instant or tables else target.range())
    return made
