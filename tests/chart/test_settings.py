"""values.yaml, the operator's environment and Settings say the same."""

from __future__ import annotations

import re
from typing import Any

import helm_python
import pytest
import yaml

from dev.chart import CHART
from dev.images.inputs import IMAGES
from kubetune.api.v1alpha1.pod_template import PodTemplate
from kubetune.api.v1alpha1.scheduling import Toleration
from kubetune.process.settings import PREFIX, Settings, load
from kubetune.spec.platform_policy import NetworkPolicies
from kubetune.spec.prices import Prices
from tests.support import chart

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
FIELDS = list(Settings.model_fields)
DIGEST = "sha256:" + "0" * 64

OPERATOR = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": chart.NAMESPACE}},
    "podSelector": {
        "matchLabels": {
            "app.kubernetes.io/component": "operator",
            "app.kubernetes.io/instance": "kubetune",
            "app.kubernetes.io/name": "kubetune",
        }
    },
}
"""The release's own pods."""


def network_policies(**values: Any) -> NetworkPolicies:
    return NetworkPolicies.model_validate({"operator": OPERATOR, **values})


OTHER: dict[str, tuple[Any, Any]] = {
    "trainer_image": ({"repository": "r/t", "tag": "1"}, "r/t:1"),
    "serving_image": ({"repository": "r/s", "digest": DIGEST}, f"r/s@{DIGEST}"),
    "serving_cpu_image": ({"repository": "r/c", "tag": "2"}, "r/c:2"),
    "image_pull_policy": ("Always", "Always"),
    "image_pull_secrets": (["one", "two"], ("one", "two")),
    "pod_template": (
        {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "labels": {"cost": "ml"}},
        PodTemplate(
            tolerations=(Toleration(key="nvidia.com/gpu", operator="Exists"),), labels={"cost": "ml"}
        ),
    ),
    "ca_bundle_config_map": ("ca", "ca"),
    "http_proxy": ("http://proxy:3128", "http://proxy:3128"),
    "https_proxy": ("http://proxy:3129", "http://proxy:3129"),
    "no_proxy": (".svc,10.0.0.0/8", ".svc,10.0.0.0/8"),
    "proxy_secret_name": ("proxy", "proxy"),
    "hf_endpoint": ("https://mirror.example.com", "https://mirror.example.com"),
    "https_data_hosts": (["data.example.com"], ("data.example.com",)),
    "https_data_max_bytes": (1_000_000_000_000, 1_000_000_000_000),
    "run_as_user": (1234, 1234),
    "fs_group": (4321, 4321),
    "gpu_resource": ("amd.com/gpu", "amd.com/gpu"),
    "gpu_memory_bytes": (85_520_809_984, 85_520_809_984),
    "gpu_type": ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB"),
    "storage_size": ("1Ti", "1Ti"),
    "storage_class_name": ("shared", "shared"),
    "shm_size": ("16Gi", "16Gi"),
    "scratch_size": ("100Gi", "100Gi"),
    "collective_timeout_seconds": (60, 60),
    "gang_timeout_seconds": (120, 120),
    "retry_backoff_seconds": (0, 0),
    "prices": (
        {"gpuHour": "2.50", "podHour": "0.05", "currency": "USD"},
        Prices.model_validate({"gpuHour": "2.50", "podHour": "0.05", "currency": "USD"}),
    ),
    "metric_fields": (["useCase", "labels.team"], ("useCase", "labels.team")),
    "allowed_images": (["registry.example.com/ml/*"], ("registry.example.com/ml/*",)),
    "allowed_service_accounts": (["trainer"], ("trainer",)),
    "allowed_token_audiences": (["sts.amazonaws.com"], ("sts.amazonaws.com",)),
    "allowed_csi_drivers": (["secrets-store.csi.k8s.io"], ("secrets-store.csi.k8s.io",)),
    "allowed_annotations": (["example.com/*"], ("example.com/*",)),
    "allowed_labels": (["*"], ("*",)),
    "allowed_priority_classes": (["training"], ("training",)),
    "allowed_environment": (["NVIDIA_DRIVER_CAPABILITIES"], ("NVIDIA_DRIVER_CAPABILITIES",)),
    "network_policies": (
        {"enabled": False, "metricsFrom": [], "blockedNetworks": ["10.0.0.0/8"]},
        network_policies(enabled=False, metricsFrom=[], blockedNetworks=["10.0.0.0/8"]),
    ),
    "watch_namespaces": (["team-a", "team-b"], ("team-a", "team-b")),
    "lease_name": ("tuner", "tuner"),
    "lease_namespace": ("leases", "leases"),
    "workers": (2, 2),
    "metrics_port": (9090, 9090),
    "health_port": (9091, 9091),
    "log_format": ("plain", "plain"),
    "log_level": ("DEBUG", "DEBUG"),
}
"""For each setting a value other than the default, and what the operator makes of it."""


def test_values_name_every_setting_in_its_order() -> None:
    assert list(VALUES["settings"]) == [camel(field) for field in FIELDS]


def test_the_environment_has_every_setting() -> None:
    text = chart.render_files()["templates/operator/settings.yaml"]
    names = re.findall(r"^  (KUBETUNE_\w+):", text, flags=re.MULTILINE)
    assert names == [PREFIX + field.upper() for field in FIELDS]


def test_default_values_are_the_operators_defaults() -> None:
    given = {"trainer_image", "serving_image", "serving_cpu_image", "lease_namespace"}
    settings = load(chart.variables())
    defaults = {name: field.default for name, field in Settings.model_fields.items() if name not in given}
    defaults["network_policies"] = network_policies().model_dump()
    assert settings.model_dump(exclude=given) == defaults


def test_the_lease_is_the_releases_own() -> None:
    def lease(release: str) -> tuple[str, str]:
        objects = chart.render(name=release)
        [config_map] = chart.of_kind(objects, "ConfigMap")
        settings = load(config_map["data"])
        return settings.lease_namespace, settings.lease_name

    assert lease("kubetune") == (chart.NAMESPACE, "kubetune")
    assert lease("other") == (chart.NAMESPACE, "other-kubetune")


def test_default_images_are_named() -> None:
    settings = load(chart.variables({"imageRegistry": "registry.example.com/ml"}))
    assert settings.trainer_image == "registry.example.com/ml/kubetune/trainer:0.1.0"
    assert settings.serving_cpu_image == "registry.example.com/ml/kubetune/serving-cpu:0.1.0"
    assert settings.serving_image.startswith("docker.io/vllm/vllm-openai:v")


@pytest.mark.parametrize("field", FIELDS)
def test_a_value_reaches_the_operator(field: str) -> None:
    value, expected = OTHER[field]
    settings = load(chart.variables({"settings": {camel(field): value}}))
    assert getattr(settings, field) == expected


def test_images_are_called_as_they_are_built() -> None:
    built = [image.repository for image in IMAGES]
    assert built == [
        VALUES["image"]["repository"],
        VALUES["settings"]["trainerImage"]["repository"],
        VALUES["settings"]["servingCpuImage"]["repository"],
        VALUES["gateway"]["image"]["repository"],
    ]


def test_no_cpu_image_means_that_the_serving_image_serves_without_gpus() -> None:
    values = {"settings": {"servingCpuImage": {"repository": ""}}}
    assert load(chart.variables(values)).serving_cpu_image is None


@pytest.mark.parametrize("field", ["httpProxy", "httpsProxy", "hfEndpoint"])
def test_no_url_with_a_password_is_installed(field: str) -> None:
    with pytest.raises(helm_python.HelmError, match=rf"settings\.{field} has a user or password") as error:
        chart.render({"settings": {field: "http://user:pass-word@host.example.com:3128"}})
    assert "pass-word" not in str(error.value)


@pytest.mark.parametrize("field", ["run_as_user", "fs_group", "gpu_memory_bytes"])
def test_null_means_none(field: str) -> None:
    assert getattr(load(chart.variables({"settings": {camel(field): None}})), field) is None


def camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)
