"""What the chart's package tells a catalogue of charts is so."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from dev.chart import CHART
from kubetune.api.v1alpha1 import validate_spec
from tests.crd import offline
from tests.support import chart

METADATA: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
PREFIX = "artifacthub.io/"
PARSED = {
    name.removeprefix(PREFIX): yaml.safe_load(text)
    for name, text in METADATA["annotations"].items()
    if name.startswith(PREFIX)
}


def test_the_images_are_those_that_the_chart_names() -> None:
    objects = chart.render(chart.CASES["gateway"])
    operator, gateway = (chart.find(objects, "Deployment", f"kubetune{part}") for part in ("", "-gateway"))
    variables = chart.variables()
    images = {
        "operator": operator["spec"]["template"]["spec"]["containers"][0]["image"],
        "trainer": variables["KUBETUNE_TRAINER_IMAGE"],
        "serving-cpu": variables["KUBETUNE_SERVING_CPU_IMAGE"],
        "serving": variables["KUBETUNE_SERVING_IMAGE"],
        "gateway": gateway["spec"]["template"]["spec"]["containers"][0]["image"],
    }
    assert {image["name"]: image["image"] for image in PARSED["images"]} == images


def test_only_images_that_somebody_publishes_are_scanned() -> None:
    for image in PARSED["images"]:
        assert image.get("whitelisted", False) is image["image"].startswith("kubetune/")


def test_the_examples_of_the_crd_are_taken_by_the_api_and_the_operator() -> None:
    examples = PARSED["crdsExamples"]
    assert {example["kind"] for example in examples} == {crd["kind"] for crd in PARSED["crds"]}
    for example in examples:
        assert offline.admit(example) == []
        assert validate_spec(example).metadata.name == example["metadata"]["name"]


@pytest.mark.parametrize("change", PARSED["changes"])
def test_a_change_is_of_a_kind_that_catalogues_know(change: dict[str, str]) -> None:
    assert change["kind"] in ("added", "changed", "deprecated", "removed", "fixed", "security")
    assert change["description"]


def test_recommendations_are_pages_of_charts() -> None:
    for recommendation in PARSED["recommendations"]:
        assert re.fullmatch(r"https://artifacthub\.io/packages/helm/[\w-]+/[\w-]+", recommendation["url"])
