"""What the chart renders is what Kubernetes takes."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import helm_python
import kubernetes_validate
import pytest

from dev.chart import CHART
from tests.support import chart

FOREIGN = {"PodMonitor", "PrometheusRule"}  # no schema of Kubernetes' own
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
@pytest.mark.parametrize("case", chart.CASES)
def test_every_object_is_valid(case: str, version: str) -> None:
    objects = chart.render(chart.CASES[case])
    for item in objects:
        if item["kind"] not in FOREIGN:
            validate(json.dumps(item), version)


@pytest.mark.parametrize("case", chart.CASES)
def test_objects_are_unique_and_in_a_namespace(case: str) -> None:
    objects = chart.render(chart.CASES[case])
    identities = Counter(
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects
    )
    assert identities.most_common(1)[0][1] == 1
    for kind, namespace, name in identities:
        assert (namespace is None) == (kind in CLUSTER_SCOPED)
        assert len(name) <= 63


@pytest.mark.parametrize("case", chart.CASES)
def test_lint_finds_nothing(case: str) -> None:
    found = helm_python.lint(CHART, values=chart.CASES[case])
    messages = [message for message in found["messages"] if "icon is recommended" not in str(message)]
    assert messages == []


def test_a_long_release_name_still_gives_valid_names() -> None:
    objects = chart.render(name="a" * 53)
    assert all(len(item["metadata"]["name"]) <= 63 for item in objects)


def test_the_operator_is_one_pod_whose_successor_is_ready_before_it_ends() -> None:
    deployment = operator()
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert chart.of_kind(chart.render(), "PodDisruptionBudget") == []
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["operator"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [
        ("metrics", 8080),
        ("health", 8081),
    ]


def test_several_pods_are_spread_and_drained_one_at_a_time() -> None:
    objects = chart.render({"replicas": 2})
    deployment = chart.find(objects, "Deployment", "kubetune")
    assert deployment["spec"]["replicas"] == 2
    selector = deployment["spec"]["selector"]
    assert deployment["spec"]["template"]["spec"]["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]
    assert chart.find(objects, "PodDisruptionBudget", "kubetune")["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": selector,
    }
    assert "kubectl -n kubetune-system get lease kubetune" in chart.notes({"replicas": 2})


def test_a_changed_setting_restarts_the_operator() -> None:
    def checksum(values: dict[str, Any]) -> str:
        annotations = operator(values)["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert checksum({}) == checksum({})
    assert checksum({}) != checksum({"settings": {"workers": 4}})


def test_the_selectors_match_only_the_operator_pod() -> None:
    objects = chart.render()
    service = chart.find(objects, "Service", "kubetune")
    labels = operator()["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    test_pod = chart.find(objects, "Pod", "kubetune-test")
    assert not service["spec"]["selector"].items() <= test_pod["metadata"]["labels"].items()


def test_an_image_is_named_by_tag_or_digest() -> None:
    digest = "sha256:" + "0" * 64
    assert image() == "kubetune/operator:0.1.0"
    assert image(imageRegistry="registry.example.com:5000/ml/") == (
        "registry.example.com:5000/ml/kubetune/operator:0.1.0"
    )
    assert image(image={"tag": "v2"}) == "kubetune/operator:v2"
    assert image(image={"tag": "v2", "digest": digest}) == f"kubetune/operator@{digest}"


@pytest.mark.parametrize("case", chart.CASES)
def test_notes_say_what_to_do_next(case: str) -> None:
    text = chart.notes(chart.CASES[case])
    assert "helm -n kubetune-system test kubetune" in text
    assert "kubectl apply" in text


@cache  # releases share most of their objects
def validate(item: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(item), version, strict=True)


def operator(values: dict[str, Any] | None = None) -> dict[str, Any]:
    return chart.find(chart.render(values), "Deployment", "kubetune")


def image(**values: Any) -> str:
    containers = operator(values)["spec"]["template"]["spec"]["containers"]
    return str(containers[0]["image"])
