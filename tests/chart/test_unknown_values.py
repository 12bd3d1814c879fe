"""A value that the chart does not know is refused with the one that was meant; all of them at once."""

from __future__ import annotations

import re
from typing import Any

import helm_python
import pytest

from dev.chart import CHART
from dev.values_schema import closed
from tests.support import chart


def refusal(values: dict[str, Any]) -> list[str]:
    """The sentences that helm ends with, in their order."""
    with pytest.raises(helm_python.HelmError) as error:
        chart.render(values)
    return re.findall(r"values: (.+)", str(error.value))


@pytest.mark.parametrize(
    ("values", "path", "meant"),
    [
        # Misspelt: a character too few, too many, another one, two exchanged; case and hyphens.
        ({"settings": {"traineImage": {}}}, "settings.traineImage", "settings.trainerImage"),
        ({"settings": {"workerss": 1}}, "settings.workerss", "settings.workers"),
        ({"setings": {"workers": 1}}, "setings", "settings"),
        ({"settings": {"wroker": 1}}, "settings.wroker", "settings.workers"),
        ({"imageregistry": "x"}, "imageregistry", "imageRegistry"),
        ({"settings": {"run-as-user": 1}}, "settings.run-as-user", "settings.runAsUser"),
        # Deep, and of few characters.
        ({"policies": {"gpu": {"maxPerJob": 8}}}, "policies.gpu", "policies.gpus"),
        ({"policies": {"gpus": {"max": 8}}}, "policies.gpus.max", "policies.gpus.maxPerJob"),
        ({"image": {"tg": "x"}}, "image.tg", "image.tag"),
        (
            {"monitoring": {"podMonitors": {"limits": {"sampleLimits": 1}}}},
            "monitoring.podMonitors.limits.sampleLimits",
            "monitoring.podMonitors.limits.sampleLimit",
        ),
        ({"resources": {"limit": {}}}, "resources.limit", "resources.limits"),
        # In a list.
        (
            {"settings": {"networkPolicies": {"metricsFrom": [{"podSelector": {}}, {"podSelectr": {}}]}}},
            "settings.networkPolicies.metricsFrom[1].podSelectr",
            "settings.networkPolicies.metricsFrom[1].podSelector",
        ),
        ({"extraEnv": [{"name": "A", "valueForm": {}}]}, "extraEnv[0].valueForm", "extraEnv[0].valueFrom"),
        # At the wrong place, or as other charts call it.
        ({"trainerImage": {"tag": "x"}}, "trainerImage", "settings.trainerImage"),
        ({"settings": {"replicas": 2}}, "settings.replicas", "replicas"),
        ({"monitoring": {"enabled": True}}, "monitoring.enabled", "monitoring.dashboards.enabled"),
        ({"image": {"pullPolicy": "Always"}}, "image.pullPolicy", "settings.imagePullPolicy"),
        ({"imagePullSecrets": []}, "imagePullSecrets", "settings.imagePullSecrets"),
        ({"installCRDs": True}, "installCRDs", "crds"),
        # Of the gateway: what only it has, wherever it stands, and what the operator has too, below it.
        ({"webhook": {"port": 443}}, "webhook", "gateway.webhooks"),
        ({"gateway": {"replica": 1}}, "gateway.replica", "gateway.replicas"),
        ({"nodeSelectors": {}}, "nodeSelectors", "nodeSelector"),
    ],
)
def test_the_nearest_known_value_is_named(values: dict[str, Any], path: str, meant: str) -> None:
    assert refusal(values) == [f"{path} is not a value of this chart; did you mean {meant}?"]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"certificate": {"issuer": "x"}}, "certificate"),
        ({"image": {"name": "x"}}, "image.name"),
        ({"crds": {"version": "v1"}}, "crds.version"),
    ],
)
def test_a_value_that_is_like_no_other_is_refused_without_a_guess(values: dict[str, Any], path: str) -> None:
    assert refusal(values) == [f"{path} is not a value of this chart; `helm show values` lists them"]


def test_all_unknown_values_are_named_at_once() -> None:
    assert refusal({"settings": {"worker": 1, "webhookPort": 1, "workers": 2}, "replica": 1}) == [
        "replica is not a value of this chart; did you mean replicas?",
        "settings.webhookPort is not a value of this chart; `helm show values` lists them",
        "settings.worker is not a value of this chart; did you mean settings.workers?",
    ]


@pytest.mark.slow
def test_values_of_another_chart_are_all_named_but_only_the_first_are_guessed() -> None:
    wrong = {f"worker{index:03}": index for index in range(300)}
    said = refusal({"settings": wrong})
    assert [sentence.partition(" ")[0] for sentence in said] == [f"settings.{name}" for name in wrong]
    assert [sentence.endswith("did you mean settings.workers?") for sentence in said] == [
        index < 20 for index in range(300)
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"global": {"imageRegistry": "x", "anything": {"of": "the parent's"}}},
        {"enabled": True},
        {"podLabels": {"traineImage": "x"}, "nodeSelector": {"setings": "x"}},
        {"affinity": {"nodeAfinity": {}}, "tolerations": [{"ky": "x"}]},
        {"settings": {"podTemplate": {"lables": {}}}},
        {"policies": {"serviceAccounts": {"byNamespace": {"setings": []}}}},
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        {"settings": {"networkPolicies": {"metricsFrom": [{"podSelector": {"matchLables": {}}}]}}},
        {"extraObjects": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "any": 1}]},
    ],
)
def test_keys_that_are_for_people_or_kubernetes_to_choose_pass(values: dict[str, Any]) -> None:
    chart.render(values)


def test_null_stands_for_the_default_of_a_value_that_exists() -> None:
    assert chart.render({"podLabels": None, "settings": {"gpuMemoryBytes": None}}) == chart.render()


@pytest.mark.parametrize(
    "path", ["commonLabels", "podLabels", "gateway.podLabels", "monitoring.additionalLabels"]
)
def test_labels_by_which_things_are_known_are_not_for_values(path: str) -> None:
    labels: Any = {"app.kubernetes.io/name": "x", "kubetune.dev/stage": "train", "team": "a"}
    for key in reversed(path.split(".")):
        labels = {key: labels}
    assert refusal(labels) == [
        f"{path} has app.kubernetes.io/name, which is KubeTune's own to set: leave it out",
        f"{path} has kubetune.dev/stage, which is KubeTune's own to set: leave it out",
    ]


def test_a_variable_that_is_a_setting_is_refused_with_the_setting() -> None:
    values = {"extraEnv": [{"name": "KUBETUNE_TRAINER_IMAGE", "value": "x"}, {"name": "TZ", "value": "UTC"}]}
    assert refusal(values) == [
        "extraEnv has KUBETUNE_TRAINER_IMAGE, which is a setting: set it as settings.trainerImage"
    ]
    values = {"gateway": {"extraEnv": [{"name": "KUBETUNE_GATEWAY_SPEC"}, {"name": "AWS_CA_BUNDLE"}]}}
    assert refusal(values) == [
        "gateway.extraEnv has KUBETUNE_GATEWAY_SPEC, which the values below gateway set: leave it out"
    ]


def test_a_parent_chart_gets_the_same_words(tmp_path: Any) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "kubetune").symlink_to(CHART)
    (parent / "Chart.yaml").write_text("{apiVersion: v2, name: parent, version: 0.1.0}\n")
    values = {"global": {"imagePullSecrets": ["all"]}, "kubetune": {"enabled": True, "replica": 2}}
    with (
        helm_python.Chart.load(parent) as loaded,
        pytest.raises(helm_python.HelmError, match="values: replica is not a value of this chart; did you"),
    ):
        loaded.render(values, name="all", namespace="ml")


def test_conditions_within_a_schema_stay_open() -> None:
    schema = {"type": "object", "properties": {"a": {}}, "anyOf": [{"properties": {"a": {"type": "null"}}}]}
    assert closed(schema) == {**schema, "additionalProperties": False}
