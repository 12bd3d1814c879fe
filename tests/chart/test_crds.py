"""The chart's copy of the CRDs is that of crds/, and an uninstall keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import chart as generator
from dev.paths import REPOSITORY
from tests.support import chart

ORIGINALS = sorted((REPOSITORY / "crds").glob("*.yaml"))


def test_generated_files_are_up_to_date() -> None:
    assert generator.out_of_date() == []


@pytest.mark.slow
@pytest.mark.parametrize("path", ORIGINALS, ids=lambda path: path.stem)
def test_the_rendered_crd_is_the_original(path: Path) -> None:
    original = yaml.safe_load(path.read_text())
    assert crds({"crds": {"keep": False}}) == [original]


def test_an_uninstall_keeps_the_crd() -> None:
    assert [crd["metadata"]["annotations"]["helm.sh/resource-policy"] for crd in crds()] == ["keep"]


def test_the_crd_can_be_left_to_others() -> None:
    assert crds({"crds": {"enabled": False}}) == []


def test_the_chart_describes_the_crd_that_it_installs() -> None:
    metadata = yaml.safe_load((generator.CHART / "Chart.yaml").read_text())
    described = yaml.safe_load(metadata["annotations"]["artifacthub.io/crds"])
    crd = crds()[0]
    assert [(entry["kind"], entry["version"], entry["name"]) for entry in described] == [
        (crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]["name"], crd["metadata"]["name"])
    ]


def test_braces_in_a_description_stay_as_they_are() -> None:
    text = "kind: CRD\nmetadata:\n  name: a\n  annotations:\n    b: '{{ c }}'\nspec:\n  annotations:\n"
    template = generator._crd_template(text)
    assert """b: '{{ "{{" }} c }}'""" in template
    assert template.index("helm.sh/resource-policy") < template.index("b: ")


def crds(values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return chart.of_kind(chart.render(values), "CustomResourceDefinition")
