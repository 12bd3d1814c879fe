"""values.schema.json knows every value; the schema that is closed has no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import helm_python
import jsonschema
import pytest
import yaml

from dev.chart import CHART, CLOSED_SCHEMA
from tests.support import chart

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
CLOSED: dict[str, Any] = json.loads(CLOSED_SCHEMA.read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imageRegistry": "a b"}, "imageRegistry"),
        ({"settings": {"trainerImage": "registry/image:1"}}, "trainerImage"),
        ({"settings": {"servingImage": {"digest": "abc"}}}, "digest"),
        ({"settings": {"imagePullPolicy": "Sometimes"}}, "imagePullPolicy"),
        ({"settings": {"imagePullSecrets": [{"secret": "x"}]}}, "imagePullSecrets"),
        ({"global": {"imagePullSecrets": ["Registry"]}}, "imagePullSecrets"),
        ({"commonLabels": {"a": 1}}, "commonLabels"),
        ({"extraEnv": [{"value": "x"}]}, "extraEnv"),
        ({"extraEnv": [{"name": "TZ", "value": 1}]}, "extraEnv"),
        ({"extraVolumeMounts": [{"name": "cache"}]}, "mountPath"),
        ({"extraObjects": [{"kind": "ConfigMap"}]}, "apiVersion"),
        ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "topologyKey"),
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
        ({"settings": {"prices": {"podHour": "0.05"}}}, "no currency: add its code, such as USD"),
        ({"settings": {"prices": {"currency": "$"}}}, "currency"),
        ({"policies": {"gpus": {"maxPerJob": "8"}}}, "maxPerJob"),
        ({"policies": {"gpus": {"maxPerJob": -1}}}, "maxPerJob"),
        ({"policies": {"gpus": {"namespaceLabel": "GPUs of a team"}}}, "namespaceLabel"),
        ({"policies": {"serviceAccounts": {"byNamespace": {"Team_A": []}}}}, "Team_A"),
        ({"policies": {"serviceAccounts": {"byNamespace": {"team-a": "trainer"}}}}, "team-a"),
        ({"policies": {"labels": {"users": "velero"}}}, "users"),
        ({"settings": {"allowedImages": ["registry.example.com/ml:1"]}}, "allowedImages"),
        ({"monitoring": {"podMonitors": {"limits": {"sampleLimit": -1}}}}, "sampleLimit"),
        ({"monitoring": {"podMonitors": {"relabelings": [{"target_label": "a"}]}}}, "target_label"),
        ({"monitoring": {"podMonitors": {"relabelings": [{"action": "remove"}]}}}, "action"),
        ({"monitoring": {"podMonitors": {"metricRelabelings": [{"regex": 7}]}}}, "regex"),
        ({"monitoring": {"dashboards": {"labels": {"grafana_dashboard": 1}}}}, "grafana_dashboard"),
        ({"monitoring": {"dashboards": {"namespace": "Grafana"}}}, "namespace"),
        ({"monitoring": {"podMonitors": {"limits": {"bodySizeLimit": "8 MB"}}}}, "bodySizeLimit"),
        ({"monitoring": {"rules": {"runbookUrl": "docs"}}}, "runbookUrl"),
        ({"monitoring": {"rules": {"labels": {"a-team": "x"}}}}, "a-team"),
        ({"monitoring": {"rules": {"disabled": "KubeTuneServerSlow"}}}, "disabled"),
        ({"monitoring": {"rules": {"thresholds": {"jobWaiting": "30 minutes"}}}}, "jobWaiting"),
        ({"monitoring": {"rules": {"thresholds": {"noProgress": ""}}}}, "noProgress"),
        ({"gateway": {"models": {"gpt-4o-mini": "Qwen/Qwen3-8B"}}}, "gpt-4o-mini"),
        ({"gateway": {"models": {"gpt-4o-mini": {"url": "http://base:8000/v1"}}}}, "uri"),
        ({"gateway": {"storage": {"bucket": "s3://clients"}}}, "bucket"),
        ({"gateway": {"storage": {"prefix": "openai"}}}, "prefix"),
        ({"gateway": {"storage": {"endpoint": "https://key@s3.example.com"}}}, "endpoint"),
        ({"gateway": {"spec": {"training": {"gpusPerNode": "1"}}}}, "gpusPerNode"),
        ({"gateway": {"webhooks": [{"namespace": "team-a", "url": "https://a.example.com"}]}}, "secretName"),
        ({"gateway": {"networkPolicy": {"from": []}}}, "from"),
        (
            {"monitoring": {"rules": {"thresholds": {"timeToFirstTokenSeconds": 0}}}},
            "timeToFirstTokenSeconds",
        ),
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
        (
            {"gateway": {"enabled": True}},
            "gateway.storage.bucket is empty: name the bucket where files of clients are to be",
        ),
        (
            {
                "settings": {"watchNamespaces": ["team-a"]},
                "gateway": {"enabled": True, "storage": {"bucket": "clients"}, "namespaces": ["team-b"]},
            },
            "gateway.namespaces has team-b, which is not in settings.watchNamespaces: its jobs would not run",
        ),
    ],
)
def test_what_could_not_work_is_refused_in_a_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(said)):
        chart.render(values)


def test_the_schema_names_the_values_and_no_others() -> None:
    described = set(paths(SCHEMA)) - {"enabled", "resources.claims", "gateway.resources.claims"}
    assert described == set(keys(VALUES))


def test_the_schema_leaves_unknown_values_to_the_template_that_knows_what_was_meant() -> None:
    """Helm itself would refuse them first: leave `additionalProperties: false` out beside `properties`."""
    assert [path for path, schema in objects(SCHEMA, "") if schema.get("additionalProperties") is False] == []


def test_the_closed_schema_is_the_same_but_for_being_closed() -> None:
    assert opened({name: part for name, part in CLOSED.items() if name != "$comment"}) == SCHEMA
    free = [path for path, schema in objects(CLOSED, "") if schema["additionalProperties"] is not False]
    assert free == [
        ".global",
        ".monitoring.dashboards.labels",
        ".topologySpreadConstraints[]",
        ".extraVolumes[]",
        ".extraVolumeMounts[]",
        ".gateway.spec",
        ".gateway.spec.training",
        ".gateway.topologySpreadConstraints[]",
        ".gateway.extraVolumes[]",
        ".gateway.extraVolumeMounts[]",
        ".extraObjects[]",
    ]


@pytest.mark.parametrize("case", chart.CASES)
def test_an_editor_finds_nothing_in_right_values(case: str) -> None:
    jsonschema.validate(chart.CASES[case], CLOSED)


def test_an_editor_finds_an_unknown_value() -> None:
    with pytest.raises(jsonschema.ValidationError, match="'traineImage' was unexpected"):
        jsonschema.validate({"settings": {"traineImage": {}}}, CLOSED)


def opened(part: Any) -> Any:
    if isinstance(part, list):
        return [opened(each) for each in part]
    if isinstance(part, dict):
        return {
            name: opened(each)
            for name, each in part.items()
            if not (name == "additionalProperties" and each is False)
        }
    return part


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return root["definitions"][reference.rpartition("/")[2]] if reference else schema


def objects(root: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All objects with named properties, by path."""
    yield from _objects(root, path, root)


def _objects(schema: dict[str, Any], path: str, root: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    schema = resolve(schema, root)
    if "properties" in schema:
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _objects(child, f"{path}.{name}", root)
    if "items" in schema:
        yield from _objects(schema["items"], f"{path}[]", root)


def paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, child in resolve(schema, SCHEMA).get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from paths(child, f"{prefix}{name}.")


def keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict) and name != "resources":
            yield from keys(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            yield from (f"{prefix}{name}.{key}" for key in value)
