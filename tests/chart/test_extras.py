"""What a chart has for what it did not think of: common labels, objects, variables, volumes, a mirror."""

from __future__ import annotations

import copy
import re
from typing import Any

import helm_python
import pytest

from tests.support import chart

COMMON = {
    "commonLabels": {"example.com/cost-center": "42", "release": "all"},
    "commonAnnotations": {"example.com/owner": "ml-platform"},
}
EXTRAS = chart.CASES["extras"]
OWN = {
    "app.kubernetes.io/name": "kubetune",
    "app.kubernetes.io/instance": "kubetune",
    "app.kubernetes.io/component": "operator",
}
"""What the operator's pods are selected by."""


@pytest.mark.parametrize("case", [case for case in chart.CASES if case != "extras"])
def test_common_labels_and_annotations_are_on_every_object_and_change_nothing_else(case: str) -> None:
    plain, marked = chart.render(chart.CASES[case]), chart.render(chart.CASES[case] | COMMON)
    for item in plain:
        meta = item["metadata"]
        # A label that is for some objects only goes before one that is for all.
        meta["labels"] = COMMON["commonLabels"] | meta.get("labels", {})
        meta["annotations"] = COMMON["commonAnnotations"] | meta.get("annotations", {})
        if item["kind"] == "Deployment":
            template = item["spec"]["template"]["metadata"]
            template["labels"] = COMMON["commonLabels"] | template["labels"]
    assert marked == plain


def test_what_has_a_label_of_its_own_keeps_it() -> None:
    labels = {
        item["metadata"]["name"]: item["metadata"]["labels"]["release"]
        for item in chart.render(EXTRAS)
        if item["metadata"].get("labels", {}).get("release")
    }
    monitors = {name: "prometheus" for name in labels if name.endswith(("-operator", "-trainer", "-serving"))}
    monitors["kubetune-operator"] = labels["kubetune-operator"]  # a policy and a monitor have this name
    assert len(labels) > 10
    assert {**dict.fromkeys(labels, "of-everything"), **monitors} == labels


def test_an_extra_object_is_a_template_as_a_string_and_itself_as_a_mapping() -> None:
    found = chart.of_kind(chart.render(EXTRAS), "ConfigMap")
    assert [item for item in found if item["metadata"]["name"] != "kubetune-settings"] == [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kubetune-extra", "namespace": chart.NAMESPACE},
            "data": {"workers": "16"},
        },
        EXTRAS["extraObjects"][1],
    ]


def test_one_string_may_hold_several_objects() -> None:
    text = "\n---\n".join(
        f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}" for name in ("one", "two")
    )
    names = [item["metadata"]["name"] for item in chart.render({"extraObjects": [text]})]
    assert set(names) - {item["metadata"]["name"] for item in chart.render()} == {"one", "two"}


def test_a_template_that_names_nothing_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape('include "kubetune.nothing"')):
        chart.render({"extraObjects": ['{{ include "kubetune.nothing" . }}']})


def test_the_operators_deployment_has_all_extras() -> None:
    plain = chart.find(chart.render(), "Deployment", "kubetune")
    wanted = copy.deepcopy(plain)
    labels, annotations = EXTRAS["commonLabels"], EXTRAS["commonAnnotations"]
    wanted["metadata"]["labels"] |= labels
    wanted["metadata"]["annotations"] = annotations | {"example.com/reload": "true"}
    spec = wanted["spec"]
    spec |= {"replicas": 2, "revisionHistoryLimit": 0}
    spec["template"]["metadata"]["labels"] |= labels
    pod = spec["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 0
    pod["imagePullSecrets"] = [{"name": "registry-credentials"}, {"name": "other"}, {"name": "mirror"}]
    pod["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": OWN},
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]
    [container] = pod["containers"]
    container["image"] = "mirror.example.com:5000/all/kubetune/operator:0.1.0"
    container["env"] = [{"name": "TZ", "value": "UTC"}]
    # The settings come last, and win.
    container["envFrom"].insert(0, {"configMapRef": {"name": "of-the-platform", "optional": True}})
    container["volumeMounts"].append({"name": "cache", "mountPath": "/var/cache"})
    pod["volumes"].append({"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}})

    found = chart.find(chart.render(EXTRAS), "Deployment", "kubetune")
    checksum = found["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    spec["template"]["metadata"]["annotations"]["checksum/config"] = checksum
    assert found == wanted


def test_a_constraint_with_a_selector_is_taken_as_it_is() -> None:
    constraint = {"topologyKey": "rack", "labelSelector": {"matchLabels": {"a": "b"}}}
    [pod] = chart.of_kind(chart.render({"topologySpreadConstraints": [constraint]}), "Deployment")
    assert pod["spec"]["template"]["spec"]["topologySpreadConstraints"] == [constraint]


def test_annotations_of_everything_do_not_restart_the_operator() -> None:
    def template(values: dict[str, Any]) -> Any:
        return chart.find(chart.render(values), "Deployment", "kubetune")["spec"]["template"]

    assert template({"commonAnnotations": {"a": "b"}}) == template({})


@pytest.mark.parametrize(
    ("registry", "repository", "image"),
    [
        (
            "mirror.example.com/all",
            "docker.io/vllm/vllm-openai",
            "mirror.example.com/all/vllm/vllm-openai:v1",
        ),
        ("mirror.example.com/", "ml.example.com:5000/a/b", "mirror.example.com/a/b:v1"),
        ("mirror.example.com", "vllm/vllm-openai", "mirror.example.com/vllm/vllm-openai:v1"),
        ("mirror.example.com", "localhost/vllm", "mirror.example.com/vllm:v1"),
        ("mirror.example.com", "vllm", "mirror.example.com/vllm:v1"),
        ("", "docker.io/vllm/vllm-openai", "docker.io/vllm/vllm-openai:v1"),
    ],
)
def test_a_parents_registry_takes_the_place_of_every_other(
    registry: str, repository: str, image: str
) -> None:
    variables = chart.variables(
        {
            "global": {"imageRegistry": registry},
            "imageRegistry": "own.example.com/ml",
            "settings": {"servingImage": {"repository": repository, "tag": "v1"}},
        }
    )
    own = registry.removesuffix("/") or "own.example.com/ml"
    assert {key: variables[key] for key in variables if key.endswith("_IMAGE")} == {
        "KUBETUNE_TRAINER_IMAGE": f"{own}/kubetune/trainer:0.1.0",
        "KUBETUNE_SERVING_CPU_IMAGE": f"{own}/kubetune/serving-cpu:0.1.0",
        "KUBETUNE_SERVING_IMAGE": image,
    }


def test_pull_secrets_of_all_sources_are_for_the_operator_its_test_and_the_jobs() -> None:
    names = ["registry-credentials", "other", "mirror"]
    assert chart.variables(EXTRAS)["KUBETUNE_IMAGE_PULL_SECRETS"] == (
        '["registry-credentials","other","mirror"]'
    )
    test = chart.find(chart.render(EXTRAS), "Pod", "kubetune-test")
    assert test["spec"]["imagePullSecrets"] == [{"name": name} for name in names]
    assert chart.variables()["KUBETUNE_IMAGE_PULL_SECRETS"] == "[]"
