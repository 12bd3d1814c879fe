"""Dashboards come as ConfigMaps that Grafana's sidecar finds, with the files as they are."""

from __future__ import annotations

import json
from typing import Any

from dev.dashboards.write import FOLDER, generated
from tests.support import chart

MOST_BYTES = 1_000_000
"""A ConfigMap has 1 MiB at most."""


def config_maps(**dashboards: Any) -> dict[str, dict[str, Any]]:
    rendered = chart.render({"monitoring": {"dashboards": {"enabled": True, **dashboards}}})
    found = chart.of_kind(rendered, "ConfigMap")
    return {item["metadata"]["name"]: item for item in found if "-dashboard-" in item["metadata"]["name"]}


def test_there_are_none_unless_asked_for() -> None:
    found = chart.of_kind(chart.render(), "ConfigMap")
    assert [item["metadata"]["name"] for item in found] == ["kubetune-settings"]


def test_each_dashboard_is_a_config_map_with_the_file_as_it_is() -> None:
    found = config_maps()
    assert {name: item["data"] for name, item in found.items()} == {
        f"kubetune-dashboard-{name}": {f"kubetune-{name}.json": (FOLDER / f"{name}.json").read_text().strip()}
        for name in ("fleet", "gateway", "job", "serving")
    }


def test_the_sidecar_finds_them_by_its_label_in_the_releases_namespace() -> None:
    for item in config_maps().values():
        metadata = item["metadata"]
        assert metadata["labels"]["grafana_dashboard"] == "1"
        assert metadata["namespace"] == chart.NAMESPACE
        assert "annotations" not in metadata


def test_labels_annotations_and_namespace_are_the_platforms() -> None:
    found = config_maps(
        labels={"grafana_dashboard": None, "dashboards": "yes"},
        annotations={"grafana_folder": "KubeTune"},
        namespace="observability",
    )
    for item in found.values():
        metadata = item["metadata"]
        assert "grafana_dashboard" not in metadata["labels"]
        assert metadata["labels"]["dashboards"] == "yes"
        assert metadata["annotations"] == {"grafana_folder": "KubeTune"}
        assert metadata["namespace"] == "observability"


def test_a_config_map_has_room_for_each() -> None:
    for item in config_maps().values():
        assert len(json.dumps(item).encode()) < MOST_BYTES


def test_the_files_are_those_that_the_builders_make() -> None:
    assert {path: path.read_text() for path in FOLDER.iterdir()} == generated()
