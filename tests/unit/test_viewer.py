"""The viewer shows what Grafana would, and refuses what it cannot show."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dev.dashboards.write import FOLDER
from dev.errors import DevError
from dev.viewer.dashboard import Field, Panel, parse, read
from dev.viewer.frames import Table, table
from dev.viewer.numbers import threshold
from dev.viewer.page import draw, legend
from dev.viewer.prometheus import Series
from dev.viewer.theme import DARK, LIGHT, Theme
from dev.viewer.units import show
from dev.viewer.variables import Shown, interpolate, seconds

JOB: dict[str, Any] = json.loads((FOLDER / "job.json").read_text())


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0, "short", None, "0"),
        (7, "short", None, "7"),
        (2.4, "short", None, "2.40"),
        (0.2671, "short", None, "0.267"),
        (1500, "short", None, "1.50 K"),
        (2_000_000, "short", None, "2 Mil"),
        (0.875, "percentunit", 1, "87.5%"),
        (0.5, "percentunit", None, "50%"),
        (0, "s", None, "0 s"),
        (0.0021, "s", None, "2.10 ms"),
        (12.5, "s", 1, "12.5 s"),
        (90, "s", None, "1.50 mins"),
        (5400, "s", None, "1.50 hours"),
        (200_000, "s", 1, "2.3 days"),
        (1_500_000, "s", 1, "2.5 weeks"),
        (1023, "bytes", None, "1023 B"),
        (1.5 * 2**30, "bytes", None, "1.50 GiB"),
        (1.5 * 2**20, "binBps", None, "1.50 MiB/s"),
        (2.5, "reqps", None, "2.50 req/s"),
        (1200, "reqps", None, "1.20K req/s"),
        (0.0002, "sci", 1, "2.0e-4"),
        (1796064621032, "dateTimeAsIso", None, "2026-11-30 18:50:21"),
        (math.nan, "short", None, "NaN"),
    ],
)
def test_values_are_written_as_grafana_does(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert show(value, unit, decimals) == text


def test_a_unit_that_is_not_known_is_an_error() -> None:
    with pytest.raises(DevError, match="does not know the unit furlongs"):
        show(1, "furlongs")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda panel: panel.update(type="heatmap"), "cannot draw a panel of type heatmap"),
        (
            lambda panel: panel.update(transformations=[{"id": "limit", "options": {}}]),
            "transformation limit",
        ),
        (lambda panel: panel["fieldConfig"].update(overrides=[OVERRIDE]), "no override byRegexp"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_and_not_left_out(change: Any, said: str) -> None:
    board = copy.deepcopy(JOB)
    change(board["panels"][1])
    with pytest.raises(DevError, match=said):
        parse(board)


OVERRIDE = {"matcher": {"id": "byRegexp", "options": ".*"}, "properties": []}


def test_variables_are_put_in_by_both_of_their_forms() -> None:
    assert interpolate('a{b=~"$b"}[${c}]', {"b": "x|y", "c": "5m"}) == 'a{b=~"x|y"}[5m]'


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(DevError, match="the variable cluster, which nothing gives a value"):
        interpolate('a{b="$cluster"}', {})


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("2d", 172800)])
def test_durations_are_read(text: str, value: int) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "h", "0h", "1.5h", "6 hours"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DevError, match="is no duration: say it as 90s"):
        seconds(text)


def test_a_rate_is_over_four_scrapes_at_least() -> None:
    assert Shown(0, 3600, 15).variables() == {
        "__interval": "15s",
        "__rate_interval": "60s",
        "__range": "3600s",
    }
    assert Shown(0, 86400, 15).variables()["__rate_interval"] == "303s"
    panel = Panel("timeseries", "", "", 0, 0, 8, 8, interval="2m", most_points=10)
    assert Shown(0, 600, 15).of(panel).variables()["__rate_interval"] == "135s"
    assert Shown(0, 3600, 15).of(panel).variables()["__interval"] == "360s"


def test_a_series_is_called_by_its_labels() -> None:
    assert legend("{{stage}}: {{ reason }}{{gone}}", series(1, stage="train", reason="Waiting")) == (
        "train: Waiting"
    )


def test_queries_of_a_table_are_joined_by_what_they_have_in_common() -> None:
    panel = Panel(
        "table",
        "All",
        "",
        0,
        0,
        24,
        8,
        options={"sortBy": [{"displayName": "Job", "desc": False}]},
        organize={
            "excludeByName": {"Value #A": True},
            "indexByName": {"job": 0, "stage": 1},
            "renameByName": {"job": "Job", "Value #B": "Progress"},
        },
    )
    found = table(
        panel,
        {
            "A": [series(1, job="b", model="m", stage="train"), series(1, job="a", model="n", stage="done")],
            "B": [series(0.5, job="b")],
            "C": [],
        },
    )
    assert found == Table(
        ["Job", "stage", "model", "Progress"],
        [
            {"Job": "a", "stage": "done", "model": "n"},
            {"Job": "b", "stage": "train", "model": "m", "Progress": 0.5},
        ],
    )


def test_a_value_has_the_colour_of_the_highest_threshold_that_it_reaches() -> None:
    field = Field(thresholds=[(-math.inf, "green"), (1, "orange"), (20, "red")])
    assert [threshold(field, value) for value in (0, 1, 19.9, 20)] == ["green", "orange", "orange", "red"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "theme", "points"),
    [
        ("fleet", LIGHT, [(60.0 * place, math.sin(place) + 1) for place in range(50)]),
        ("job", DARK, [(60.0, 1.0), (120.0, math.nan), (180.0, 0.0)]),
        ("serving", LIGHT, []),
    ],
)
def test_a_board_is_drawn_with_whatever_there_is(
    name: str, theme: Theme, points: list[tuple[float, float]], tmp_path: Path
) -> None:
    board = read(FOLDER / f"{name}.json")
    labels = {"namespace": "team-a", "finetunejob": "intents", "stage": "train", "state": "used"}
    found = [Series(labels, points)] if points else []
    answers = [{target.letter: found for target in panel.targets} for panel in board.panels]
    chosen = {variable.name: "x" for variable in board.variables}
    path = tmp_path / "board.png"
    draw(board, answers, chosen, Shown(0, 3600, 60), theme, path)
    with Image.open(path) as picture:
        size, corner = picture.size, picture.convert("RGB").getpixel((1, 1))
    assert size == (1600, 82 + 38 * max(panel.y + panel.height for panel in board.panels))
    assert corner == pytest.approx(tuple(bytes.fromhex(theme.page[1:])), abs=2)
    assert path.stat().st_size < 300_000


def series(value: float, **labels: str) -> Series:
    return Series(labels, [(0.0, value)])
