"""Each panel of the dashboards says what it shows, and asks for metrics that there are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dev.bench.series import RECORDED
from dev.dashboards.write import FOLDER, generated
from dev.paths import REPOSITORY
from dev.queries import names as metric_names
from dev.viewer.dashboard import parse
from dev.viewer.units import UNITS

BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(text) for path, text in generated().items()}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def known_metrics() -> set[str]:
    """Names of samples of operator and trainer, by the reference, and of vLLM, by what a server told."""
    reference = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    ours = re.findall(r"^\| `(\w+)` \| (\w+) \|", reference, flags=re.MULTILINE)
    names = {name for name, kind in ours if kind != "histogram"}
    names |= {f"{n}_{part}" for n, kind in ours if kind == "histogram" for part in ("bucket", "sum", "count")}
    families = text_string_to_metric_families(RECORDED.read_text())
    return names | {sample.name for family in families for sample in family.samples}


def test_the_boards_are_found_by_their_names_and_lead_to_each_other() -> None:
    assert {name: (board["uid"], board["title"], board["tags"]) for name, board in BOARDS.items()} == {
        "fleet": ("kubetune-fleet", "KubeTune / Fleet", ["kubetune"]),
        "gateway": ("kubetune-gateway", "KubeTune / Gateway", ["kubetune"]),
        "job": ("kubetune-job", "KubeTune / Job", ["kubetune"]),
        "serving": ("kubetune-serving", "KubeTune / Serving", ["kubetune"]),
    }
    for board in BOARDS.values():
        [link] = board["links"]
        assert (link["type"], link["tags"]) == ("dashboards", ["kubetune"])
        assert (link["includeVars"], link["keepTime"]) == (True, True)


def test_people_choose_a_data_source_namespaces_and_a_job() -> None:
    def variables(name: str) -> dict[str, tuple[Any, ...]]:
        found = BOARDS[name]["templating"]["list"]
        return {v["name"]: (v["type"], v["multi"], v["includeAll"], v.get("allValue")) for v in found}

    common = {
        "datasource": ("datasource", False, False, None),
        "namespace": ("query", True, True, ".+"),
    }
    assert variables("fleet") == common
    assert variables("gateway") == common
    assert variables("job") == {**common, "finetunejob": ("query", False, False, None)}
    assert variables("serving") == {**common, "finetunejob": ("query", True, True, ".+")}


def test_a_row_of_the_fleets_table_leads_to_its_job() -> None:
    [table] = [panel for panel in BOARDS["fleet"]["panels"] if panel["type"] == "table"]
    [override] = [o for o in table["fieldConfig"]["overrides"] if o["matcher"]["options"] == "FineTuneJob"]
    [link] = override["properties"][0]["value"]
    assert link["url"] == (
        "/d/kubetune-job?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}"
        "&var-finetunejob=${__data.fields.FineTuneJob}&${__url_time_range}"
    )


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_all_that_a_reader_needs(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith((".", "`."))
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert defaults["thresholds"]["steps"][0]["value"] is None
    assert panel["datasource"] == DATASOURCE
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == DATASOURCE
        assert target["legendFormat"]
        assert target["instant"] is not target["range"]
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_metrics_that_there_are(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        names = metric_names(target["expr"])
        assert names
        assert names <= known_metrics()


@pytest.mark.parametrize("name", BOARDS)
def test_what_people_chose_holds_for_every_panel(name: str) -> None:
    """Only Events, the operator's own health, and requests of which nobody knows who asks are of none."""
    operators = ("kubetune_leader", "kubetune_build", "kubetune_workqueue", "kubetune_reconcile")
    others = (*operators, "kubetune_kube", "kubetune_watch", "kubetune_event")
    of_models = ("kubetune_gateway_time_to_first_token", "kubetune_gateway_tokens")
    wanted = {
        "fleet": ['namespace=~"$namespace"'],
        "gateway": ['namespace=~"$namespace"'],
        "job": ['namespace=~"$namespace"', 'finetunejob="$finetunejob"'],
        "serving": ['namespace=~"$namespace"', 'finetunejob=~"$finetunejob"'],
    }[name]
    for panel in BOARDS[name]["panels"]:
        for target in panel.get("targets", ()):
            asked = {m for m in metric_names(target["expr"]) if not m.startswith(others)}
            if any(m.startswith(of_models) or not m.startswith("kubetune_gateway") for m in asked):
                for chosen in wanted:
                    assert chosen in target["expr"], panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_places_and_numbers_of_their_own(name: str) -> None:
    panels = BOARDS[name]["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize("name", BOARDS)
def test_the_viewer_can_draw_all_of_a_board(name: str) -> None:
    assert [panel.title for panel in parse(BOARDS[name]).panels] == [
        panel["title"] for panel in BOARDS[name]["panels"]
    ]


def test_the_files_are_what_is_read_here() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(BOARDS)
