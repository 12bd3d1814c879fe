"""What a platform has to allow: each way out of a pod or namespace is refused, and opened by a setting."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.process.settings import load
from kubetune.spec.allowed import check_allowed, check_allowed_serving
from kubetune.spec.platform_policy import PlatformPolicy, repository_of
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.errors import SpecError
from tests.support import golden

DEFAULT = PlatformPolicy()
SETTINGS = JobSettings.model_validate(golden.SETTINGS)

TOKEN = {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "https://kubernetes"}}]}}
RUNTIME = 'variable "{}", which container runtimes read,'
UNSEEN = "{}, by which a key can be a variable that container runtimes read,"


def env_from(prefix: str | None) -> dict[str, Any]:
    return {"envFrom": [{"secretRef": {"name": "s"}} | ({"prefix": prefix} if prefix else {})]}


ATTACKS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no AppArmor": (
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}},
        "annotations",
        '"container.apparmor.security.beta.kubernetes.io/trainer"',
        "allowedAnnotations",
    ),
    "no seccomp": (
        {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}},
        "annotations",
        '"seccomp.security.alpha.kubernetes.io/pod"',
        "allowedAnnotations",
    ),
    "a network of another namespace": (
        {"annotations": {"k8s.v1.cni.cncf.io/networks": "other/storage"}},
        "annotations",
        '"k8s.v1.cni.cncf.io/networks"',
        "allowedAnnotations",
    ),
    "a device of the node": (
        {"annotations": {"cdi.k8s.io/gpus": "nvidia.com/gpu=all"}},
        "annotations",
        '"cdi.k8s.io/gpus"',
        "allowedAnnotations",
    ),
    "a sidecar with volumes of its own": (
        {"annotations": {"sidecar.istio.io/userVolume": "[]"}},
        "annotations",
        '"sidecar.istio.io/userVolume"',
        "allowedAnnotations",
    ),
    "a part of somebody's Service": ({"labels": {"app": "shop"}}, "labels", '"app"', "allowedLabels"),
    "every GPU of the node": (
        {"runtimeClassName": "nvidia", "env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]},
        "env",
        RUNTIME.format("NVIDIA_VISIBLE_DEVICES"),
        "allowedEnvironment",
    ),
    "a configuration of MIG": (
        {"env": [{"name": "NVIDIA_MIG_CONFIG_DEVICES", "value": "all"}]},
        "env",
        RUNTIME.format("NVIDIA_MIG_CONFIG_DEVICES"),
        "allowedEnvironment",
    ),
    "every accelerator of another vendor": (
        {"env": [{"name": "ILUVATAR_VISIBLE_DEVICES", "value": "all"}]},
        "env",
        RUNTIME.format("ILUVATAR_VISIBLE_DEVICES"),
        "allowedEnvironment",
    ),
    "every GPU by a key that nobody sees": (
        env_from(None),
        "envFrom",
        UNSEEN.format("without prefix"),
        'allowedEnvironment (as "*")',
    ),
    "every GPU by a prefix and the rest of its name": (
        env_from("NVIDIA_VIS"),
        "envFrom",
        UNSEEN.format('prefix "NVIDIA_VIS"'),
        'allowedEnvironment (as "*")',
    ),
    "every GPU by the beginning of a prefix": (
        env_from("NV"),
        "envFrom",
        UNSEEN.format('prefix "NV"'),
        'allowedEnvironment (as "*")',
    ),
    "another account": (
        {"serviceAccountName": "deployer"},
        "serviceAccountName",
        '"deployer"',
        "allowedServiceAccounts",
    ),
    "a token of the API server": (
        {"volumes": [{"name": "v", **TOKEN}]},
        "volumes[v].projected",
        'a token for "https://kubernetes"',
        "allowedTokenAudiences",
    ),
    "a volume of another namespace": (
        {
            "volumes": [
                {"name": "v", "csi": {"driver": "csi.example.com", "volumeAttributes": {"ns": "other"}}}
            ]
        },
        "volumes[v].csi",
        'driver "csi.example.com"',
        "allowedCsiDrivers",
    ),
    "preemption of everybody": (
        {"priorityClassName": "system-node-critical", "tolerations": [{"operator": "Exists"}]},
        "priorityClassName",
        '"system-node-critical"',
        "allowedPriorityClasses",
    ),
}
"""What a podTemplate says; the field, the words and the setting of the refusal."""


def job(**spec: Any) -> FineTuneJob:
    return validate_spec(
        {
            "metadata": {"name": "intents", "namespace": "team-a", "uid": "1"},
            "spec": {
                "model": {"uri": "hf://org/base"},
                "dataset": {"train": {"uri": "pvc://rows/train.jsonl"}},
                "training": {"gpusPerNode": 0},
                **spec,
            },
        }
    )


def refusal(job: FineTuneJob, policy: PlatformPolicy = DEFAULT) -> tuple[str, str, str] | None:
    try:
        check_allowed(job, policy, SETTINGS)
        check_allowed_serving(job, policy, SETTINGS)
    except SpecError as error:
        return error.field, error.problem, error.remedy
    return None


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["spec", "spec.training", "spec.serving"])
def test_what_reaches_past_the_pod_is_refused(attack: str, place: str) -> None:
    template, field, words, setting = ATTACKS[attack]
    block: dict[str, Any] = {"podTemplate": template}
    spec = {"spec": block, "spec.training": {"training": {"gpusPerNode": 0} | block}}.get(place) or {
        "serving": {"gpus": 0} | block
    }
    found = refusal(job(**spec))
    assert found is not None
    assert found[:2] == (f"{place}.podTemplate.{field}", f"{words} is not allowed by this platform")
    assert found[2].endswith(f"or ask for it to be added to the operator's setting {setting}")


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_setting_that_a_refusal_names_allows_it(attack: str) -> None:
    template, _, _, setting = ATTACKS[attack]
    opened = load({**REQUIRED, f"KUBETUNE_{_upper(setting.split()[0])}": '["*"]'}).policy
    assert refusal(job(podTemplate=template), opened) is None


def test_a_name_is_allowed_in_full_or_by_its_beginning() -> None:
    labels = {"podTemplate": {"labels": {"example.com/team": "a", "cost-centre": "b"}}}
    allowed = PlatformPolicy(allowed_labels=("example.com/*", "cost-centre"))
    assert refusal(job(**labels), allowed) is None
    shorter = PlatformPolicy(allowed_labels=("example.com/*", "cost"))
    found = refusal(job(**labels), shorter)
    assert found is not None
    assert found[1] == '"cost-centre" is not allowed by this platform'


def test_kueues_queue_and_topology_need_no_setting() -> None:
    template = {
        "labels": {"kueue.x-k8s.io/queue-name": "training"},
        "annotations": {"kueue.x-k8s.io/podset-required-topology": "rack"},
    }
    assert refusal(job(podTemplate=template)) is None


def test_variables_that_only_the_pod_reads_need_no_setting() -> None:
    names = ("NCCL_SOCKET_IFNAME", "AWS_REGION", "HTTPS_PROXY", "VISIBLE")
    assert refusal(job(podTemplate={"env": [{"name": name, "value": "x"} for name in names]})) is None
    assert refusal(job(podTemplate=env_from("APP_"))) is None


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("python", "docker.io/library/python"),
        ("python:3.11-slim", "docker.io/library/python"),
        ("docker.io/python@sha256:0", "docker.io/library/python"),
        ("vllm/vllm-openai:v1", "docker.io/vllm/vllm-openai"),
        ("localhost/a", "localhost/a"),
        ("registry:5000/a/b:1@sha256:0", "registry:5000/a/b"),
        ("registry.example.com/a", "registry.example.com/a"),
    ],
)
def test_a_repository_is_what_the_runtime_pulls_from(image: str, repository: str) -> None:
    assert repository_of(image) == repository


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("registry.example.com/ml/trainer:1", True),
        ("registry.example.com/ml/deep/er@sha256:0", True),
        ("registry.example.com/ml-evil/trainer:1", False),
        ("registry.example.com/ml", False),
        ("registry.example.com.evil.org/ml/trainer:1", False),
        ("vllm/vllm-openai:v1", True),
        ("docker.io/vllm/vllm-openai:v1", True),
        ("vllm/vllm-openai-evil:v1", False),
        ("evil.org/docker.io/vllm/vllm-openai", False),
        ("python:3", False),
    ],
)
@pytest.mark.parametrize("block", ["training", "serving"])
def test_images_are_allowed_by_their_repository(block: str, image: str, allowed: bool) -> None:
    policy = PlatformPolicy(allowed_images=("registry.example.com/ml/*", "vllm/vllm-openai"))
    spec = {"training": {"gpusPerNode": 0}, "serving": {"gpus": 0}}
    spec[block] = spec[block] | {"image": image}  # type: ignore[dict-item]
    found = refusal(job(**spec), policy)
    refused = (f"spec.{block}.image", f'image "{image}" is not allowed by this platform')
    assert (found[:2] if found else None) == (None if allowed else refused)


def test_another_tag_of_the_platforms_own_image_needs_no_setting() -> None:
    image = f"{SETTINGS.trainer_image.rpartition(':')[0]}@sha256:{'0' * 64}"
    assert refusal(job(training={"gpusPerNode": 0, "image": image})) is None


def test_no_other_image_is_allowed_by_default() -> None:
    found = refusal(job(serving={"gpus": 0, "image": "registry.example.com/mine"}))
    assert found is not None
    assert found[0] == "spec.serving.image"


REQUIRED = {f"KUBETUNE_{name.upper()}": value for name, value in golden.SETTINGS.items()}


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("ALLOWED_IMAGES", '["registry.example.com/ml/trainer:1"]', "leave out scheme, tag and digest"),
        ("ALLOWED_IMAGES", '["https://registry.example.com/ml"]', "leave out scheme, tag and digest"),
        ("ALLOWED_LABELS", '["*cost*"]', "String should match pattern"),
        ("ALLOWED_CSI_DRIVERS", '[""]', "String should match pattern"),
        ("NETWORK_POLICIES", '{"metricsFrom": [{}]}', "names nobody"),
        ("NETWORK_POLICIES", '{"blockedNetworks": ["169.254.169.254"]}', "String should match pattern"),
    ],
)
def test_a_setting_that_can_name_nothing_stops_the_operator(setting: str, value: str, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        load({**REQUIRED, f"KUBETUNE_{setting}": value})
    [error] = raised.value.errors()
    assert error["loc"][0] == setting.lower()
    assert words in error["msg"]


def test_the_platforms_own_pod_template_is_free() -> None:
    case = golden.load("pod-templates")
    assert case.settings.pod_template is not None
    assert case.settings.pod_template.volumes
    assert refusal(job()) is None


def _upper(setting: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in setting)
