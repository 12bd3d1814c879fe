"""values.schema.json knows every value and refuses all others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
import yaml

from dev.chart import CHART
from tests.support import chart

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imageregistry": "x"}, "imageregistry"),
        ({"settings": {"runasuser": 1}}, "runasuser"),
        ({"settings": {"trainerImage": "registry/image:1"}}, "trainerImage"),
        ({"settings": {"trainerImage": {"repository": "r", "name": "x"}}}, "name"),
        ({"settings": {"servingImage": {"digest": "abc"}}}, "digest"),
        ({"settings": {"imagePullPolicy": "Sometimes"}}, "imagePullPolicy"),
        ({"settings": {"imagePullSecrets": [{"name": "x"}]}}, "imagePullSecrets"),
        ({"settings": {"podTemplate": [{"key": "x"}]}}, "podTemplate"),
        ({"settings": {"watchNamespaces": "team-a"}}, "watchNamespaces"),
        ({"settings": {"watchNamespaces": ["Team_A"]}}, "watchNamespaces"),
        ({"settings": {"workers": 0}}, "workers"),
        ({"settings": {"runAsUser": 0}}, "runAsUser"),
        ({"settings": {"storageSize": "20 GB"}}, "storageSize"),
        ({"settings": {"metricsPort": 80}}, "metricsPort"),
        ({"settings": {"metricFields": ["model.uri"]}}, "metricFields"),
        ({"settings": {"metricFields": ["labels.cost centre"]}}, "metricFields"),
        ({"settings": {"metricFields": ["useCase", "useCase"]}}, "metricFields"),
        ({"settings": {"metricFields": [f"labels.a{n}" for n in range(17)]}}, "metricFields"),
        ({"settings": {"prices": {"gpuHour": 2.5, "currency": "USD"}}}, "gpuHour"),
        ({"settings": {"prices": {"podHour": "0.05"}}}, "currency"),
        ({"settings": {"prices": {"currency": "$"}}}, "currency"),
        ({"policies": {"gpu": {"maxPerJob": 8}}}, "gpu"),
        ({"policies": {"gpus": {"maxPerJob": "8"}}}, "maxPerJob"),
        ({"policies": {"gpus": {"maxPerJob": -1}}}, "maxPerJob"),
        ({"policies": {"gpus": {"namespaceLabel": "GPUs of a team"}}}, "namespaceLabel"),
        ({"policies": {"serviceAccounts": {"byNamespace": {"Team_A": []}}}}, "Team_A"),
        ({"policies": {"serviceAccounts": {"byNamespace": {"team-a": "trainer"}}}}, "team-a"),
        ({"policies": {"labels": {"users": "velero"}}}, "users"),
        ({"settings": {"allowedImages": ["registry.example.com/ml:1"]}}, "allowedImages"),
        ({"crds": {"install": True}}, "install"),
        ({"monitoring": {"enabled": True}}, "enabled"),
        ({"monitoring": {"podMonitors": {"limits": {"sampleLimit": -1}}}}, "sampleLimit"),
        ({"monitoring": {"podMonitors": {"relabelings": [{"target_label": "a"}]}}}, "target_label"),
        ({"monitoring": {"podMonitors": {"relabelings": [{"action": "remove"}]}}}, "action"),
        ({"monitoring": {"podMonitors": {"metricRelabelings": [{"regex": 7}]}}}, "regex"),
        ({"monitoring": {"podMonitors": {"limits": {"bodySizeLimit": "8 MB"}}}}, "bodySizeLimit"),
        ({"resources": {"limit": {}}}, "limit"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(helm_python.HelmError, match=named):
        chart.render(values)


@pytest.mark.parametrize("case", chart.CASES)
def test_right_values_pass(case: str) -> None:
    with helm_python.Chart.load(CHART) as loaded:
        loaded.validate_schema(chart.CASES[case])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"policies": {"promote": {"enabled": True}}},
            "lets nobody promote: name who may in policies.promote.users or policies.promote.groups",
        ),
        (
            {
                "settings": {"watchNamespaces": ["team-a"], "allowedServiceAccounts": ["trainer"]},
                "policies": {"serviceAccounts": {"enabled": True, "byNamespace": {"team-b": ["trainer"]}}},
            },
            "names team-b, which is not in settings.watchNamespaces: add it there, or remove it here",
        ),
        (
            {
                "settings": {"allowedServiceAccounts": ["trainer", "other-*"]},
                "policies": {"serviceAccounts": {"enabled": True, "byNamespace": {"team-b": ["tuner"]}}},
            },
            "names tuner, which settings.allowedServiceAccounts does not allow: add it there, or the",
        ),
    ],
)
def test_a_policy_for_nothing_is_refused_in_a_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(said)):
        chart.render(values)


def test_values_for_a_parent_chart_pass() -> None:
    chart.render({"global": {"imageRegistry": "x"}})


def test_the_schema_names_the_values_and_no_others() -> None:
    described = set(paths(SCHEMA)) - {"global", "resources.claims"}
    assert described == set(keys(VALUES))


def test_every_object_of_the_schema_is_closed() -> None:
    assert [path for path, schema in objects(SCHEMA, "") if "additionalProperties" not in schema] == []


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMA["definitions"][reference.rpartition("/")[2]] if reference else schema


def objects(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    schema = resolve(schema)
    if "properties" in schema:
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from objects(child, f"{path}.{name}")


def paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, child in resolve(schema).get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from paths(child, f"{prefix}{name}.")


def keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict) and f"{prefix}{name}" != "resources":
            yield from keys(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            yield from (f"{prefix}{name}.{key}" for key in value)
