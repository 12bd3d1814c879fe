"""podTemplates on top of each other: which layer says what, and what each stage gets."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.paths import REPOSITORY
from kubetune.api.crdgen import openapi_schema
from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.api.v1alpha1.pod_template import PodTemplate
from kubetune.children.prepare import build_prepare
from kubetune.children.server import build_server
from kubetune.children.training import build_training
from kubetune.facts.views import Manifest
from kubetune.process.settings import load
from kubetune.servers.intent import intent_of
from kubetune.spec.allowed import check_allowed, check_allowed_serving
from kubetune.spec.pod_layers import pod_template_of
from kubetune.spec.pod_template import merged
from kubetune.spec.resolve import check_serving, frozen_settings, resolve
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.errors import SpecError
from kubetune.vocabulary.names import ROLE_SERVING
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.messages import ArtifactSummary
from tests.crd.cases import changed
from tests.crd.generated import values
from tests.support import chart

Json = dict[str, Any]

STAGES = ("prepare", "train", "serve")
ARTIFACT = ArtifactSummary(
    path="intents/0/adapter",
    digest="sha256:0",
    size_bytes=1,
    type="LoRA",
    rank=16,
    base_model="hf://org/base",
    base_revision="main",
)
GPU = {"key": "nvidia.com/gpu", "operator": "Exists"}
SPOT = {"key": "spot", "value": "true", "effect": "NoSchedule"}


def template(**fields: Any) -> PodTemplate:
    return PodTemplate.model_validate(fields)


def node_affinity(key: str) -> Json:
    term = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def pods_apart(topology: str) -> Json:
    return {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": topology}]}


def spread(key: str, skew: int) -> Json:
    return {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule"}


@pytest.mark.parametrize(
    ("field", "below", "above", "both"),
    [
        ("nodeSelector", {"a": "1", "b": "1"}, {"b": "2", "c": "2"}, {"a": "1", "b": "2", "c": "2"}),
        ("labels", {"a": "1", "b": "1"}, {"b": "2"}, {"a": "1", "b": "2"}),
        ("annotations", {"a": "1"}, {"a": "2"}, {"a": "2"}),
        ("tolerations", [GPU], [SPOT, GPU], [GPU | {"operator": "Exists"}, SPOT | {"operator": "Equal"}]),
        (
            "affinity",
            {"nodeAffinity": node_affinity("a"), "podAntiAffinity": pods_apart("zone")},
            {"nodeAffinity": node_affinity("b"), "podAffinity": pods_apart("rack")},
            {
                "nodeAffinity": node_affinity("b"),
                "podAffinity": pods_apart("rack"),
                "podAntiAffinity": pods_apart("zone"),
            },
        ),
        (
            "topologySpreadConstraints",
            [spread("zone", 1), spread("rack", 1)],
            [spread("zone", 2)],
            [spread("zone", 2), spread("rack", 1)],
        ),
        ("priorityClassName", "low", "high", "high"),
        ("schedulerName", "a", "b", "b"),
        ("runtimeClassName", "a", "b", "b"),
        ("serviceAccountName", "a", "b", "b"),
        ("imagePullSecrets", [{"name": "a"}], [{"name": "b"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}]),
        (
            "env",
            [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
            [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            [
                {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "value": "1"},
            ],
        ),
        (
            "envFrom",
            [{"secretRef": {"name": "a"}}],
            [{"secretRef": {"name": "a"}}, {"prefix": "B_", "secretRef": {"name": "a"}}],
            [{"secretRef": {"name": "a"}}, {"prefix": "B_", "secretRef": {"name": "a"}}],
        ),
        (
            "volumes",
            [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}],
            [{"name": "a", "configMap": {"name": "c"}}],
            [{"name": "a", "configMap": {"name": "c"}}, {"name": "b", "emptyDir": {}}],
        ),
        (
            "volumeMounts",
            [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"}],
            [{"name": "c", "mountPath": "/a", "readOnly": True}],
            [{"name": "c", "mountPath": "/a", "readOnly": True}, {"name": "b", "mountPath": "/b"}],
        ),
    ],
)
def test_two_layers_make_one(field: str, below: Any, above: Any, both: Any) -> None:
    one = merged([template(**{field: below}), template(**{field: above})])
    assert one == template(**{field: both})
    assert merged([template(**{field: below}), template()]) == template(**{field: below})
    assert merged([template(), template(**{field: above})]) == template(**{field: above})


def test_every_field_was_merged_above() -> None:
    [parameters] = test_two_layers_make_one.pytestmark  # type: ignore[attr-defined]
    named = {case[0] for case in parameters.args[1]}
    assert named == {field.alias for field in PodTemplate.model_fields.values()}


TEMPLATES = values(openapi_schema()["properties"]["spec"]["properties"]["podTemplate"], "podTemplate")


def valid(drawn: Json) -> PodTemplate | None:
    try:
        return PodTemplate.model_validate(drawn)
    except ValueError:
        return None


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(layers=st.lists(TEMPLATES.map(valid).filter(lambda one: one is not None), min_size=3, max_size=3))
def test_layers_may_be_merged_in_any_grouping_and_twice(layers: list[PodTemplate]) -> None:
    low, middle, high = layers
    together = merged(layers)
    assert merged([merged([low, middle]), high]) == together
    assert merged([low, merged([middle, high])]) == together
    assert merged([together, together]) == together


PLATFORM = JobSettings.model_validate(
    {
        "trainer_image": "trainer:1",
        "serving_image": "vllm:1",
        "pod_template": {
            "tolerations": [GPU],
            "labels": {"cost-centre": "platform", "where": "platform"},
            "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        },
    }
)
COMMON = {
    "labels": {"where": "common", "team": "nlp"},
    "nodeSelector": {"topology.kubernetes.io/zone": "a"},
    "volumes": [{"name": "cache", "emptyDir": {}}],
}
TRAINING = {
    "priorityClassName": "training",
    "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
    "nodeSelector": {"gpu": "h100"},
    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}, {"name": "ca", "mountPath": "/ca"}],
}
SERVING = {"labels": {"where": "serving"}, "annotations": {"example.com/a": "b"}, "tolerations": [SPOT]}


def job(**spec: Any) -> FineTuneJob:
    given = {
        "training.podTemplate": TRAINING,
        "podTemplate": COMMON,
        "serving": {"podTemplate": SERVING},
        "metadata.uid": "1",
    }
    return validate_spec(changed(given | spec))


def test_each_stage_has_the_layers_that_are_its_own() -> None:
    everywhere = {"cost-centre": "platform", "where": "common", "team": "nlp"}
    zone = {"topology.kubernetes.io/zone": "a"}
    found = {stage: pod_template_of(job(), PLATFORM, stage) for stage in STAGES}
    assert {stage: one.labels for stage, one in found.items()} == {
        "prepare": everywhere,
        "train": everywhere | {"kueue.x-k8s.io/queue-name": "gpus"},
        "serve": everywhere | {"where": "serving"},
    }
    assert {stage: one.node_selector for stage, one in found.items()} == {
        "prepare": zone,
        "train": zone | {"gpu": "h100"},
        "serve": zone,
    }
    assert {stage: one.priority_class_name for stage, one in found.items()} == {
        "prepare": None,
        "train": "training",
        "serve": None,
    }
    assert {stage: [t.key for t in one.tolerations or ()] for stage, one in found.items()} == {
        "prepare": ["nvidia.com/gpu"],
        "train": ["nvidia.com/gpu"],
        "serve": ["nvidia.com/gpu", "spot"],
    }


def children(one: FineTuneJob) -> dict[str, Manifest]:
    config = resolve(one, PLATFORM)
    assert one.spec.serving is not None
    return {
        "prepare": build_prepare(one, config, PLATFORM, number=1),
        "train": build_training(one, config, PLATFORM, number=1),
        "serve": build_server(
            one,
            one.spec.serving,
            config,
            ARTIFACT,
            PLATFORM,
            role=ROLE_SERVING,
            intent="0",
            architecture="LlamaForCausalLM",
            planned_gpus=0,
        ),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_labels_and_annotations_are_on_pods_and_on_what_makes_them(stage: str) -> None:
    one = job()
    manifest, wanted = children(one)[stage], pod_template_of(one, PLATFORM, stage)
    for meta in (manifest["metadata"], manifest["spec"]["template"]["metadata"]):
        assert (wanted.labels or {}).items() <= meta["labels"].items()
        assert (wanted.annotations or {}).items() <= meta.get("annotations", {}).items()
        assert meta["labels"]["kubetune.dev/stage"] == stage


def test_what_kubetune_says_itself_is_not_overridden() -> None:
    argo = {"argocd.argoproj.io/sync-options": "Prune=true"}
    manifest = children(job(podTemplate=COMMON | {"annotations": argo}))["train"]
    assert manifest["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false"


def refusal(**spec: Any) -> str:
    one = job(**spec)
    try:
        resolve(one, PLATFORM)
        check_serving(one, PLATFORM)
    except SpecError as error:
        return str(error)
    pytest.fail("it is accepted")


def test_a_mount_may_name_a_volume_of_a_layer_beneath() -> None:
    one = job()
    resolve(one, PLATFORM)
    check_serving(one, PLATFORM)
    pod = children(one)["train"]["spec"]["template"]["spec"]
    assert {"name": "cache", "emptyDir": {}} in pod["volumes"]
    assert {"name": "cache", "mountPath": "/cache"} in pod["containers"][0]["volumeMounts"]


LOST = {"volumeMounts": [{"name": "lost", "mountPath": "/a"}]}


def test_a_mount_of_no_volume_is_refused_where_it_is_said() -> None:
    assert refusal(podTemplate=LOST) == (
        'spec.podTemplate.volumeMounts: "lost" is no volume of spec.podTemplate, settings.podTemplate; '
        "add the volume or correct the name"
    )
    assert refusal(**{"training.podTemplate": LOST}).startswith(
        'spec.training.podTemplate.volumeMounts: "lost"'
    )
    assert refusal(serving={"podTemplate": LOST}).startswith('spec.serving.podTemplate.volumeMounts: "lost"')


def test_a_mount_of_all_pods_needs_more_than_a_volume_of_training() -> None:
    training = {"volumes": [{"name": "lost", "emptyDir": {}}]}
    assert refusal(podTemplate=LOST, **{"training.podTemplate": training}).startswith("spec.podTemplate")


def test_the_page_shows_what_happens() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "place-pods.md").read_text()
    shown, spec, lists = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL))
    loaded = load(chart.variables(shown))
    settings = loaded.for_job
    layers = {f"{block}.podTemplate": spec["spec"][block]["podTemplate"] for block in ("training", "serving")}
    one = validate_spec(changed(layers | {"podTemplate": spec["spec"]["podTemplate"]}))
    check_allowed(one, loaded.policy, settings)
    check_allowed_serving(one, loaded.policy, settings)
    assert load(chart.variables(lists)).policy.allowed_service_accounts == ("data-*",)
    found = {stage: pod_template_of(one, settings, stage) for stage in STAGES}
    assert {stage: len(template.tolerations or ()) for stage, template in found.items()} == dict.fromkeys(
        STAGES, 1
    )
    cost = {"cost-centre": "support"}
    assert {stage: template.labels for stage, template in found.items()} == {
        "prepare": cost,
        "train": cost | {"kueue.x-k8s.io/queue-name": "training"},
        "serve": cost,
    }
    zone = {"topology.kubernetes.io/zone": "eu-1a"}
    assert {stage: template.node_selector for stage, template in found.items()} == {
        "prepare": zone,
        "train": zone | {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
        "serve": zone | {"nvidia.com/gpu.product": "NVIDIA-L4"},
    }


def test_the_platforms_layer_is_frozen_with_the_job() -> None:
    config = TrainerConfig.model_validate_json(resolve(job(), PLATFORM).model_dump_json())
    assert config.operator["settings"]["pod_template"]["tolerations"] == [GPU]
    assert frozen_settings(config) == PLATFORM


def test_a_job_of_an_operator_without_the_setting_has_none_and_keeps_its_servers() -> None:
    config = resolve(job(), PLATFORM)
    earlier = {name: value for name, value in config.operator["settings"].items() if name != "pod_template"}
    config = config.model_copy(update={"operator": {"settings": earlier}})
    settings = frozen_settings(config)
    assert settings == PLATFORM.model_copy(update={"pod_template": None})
    bare = PLATFORM.model_copy(update={"pod_template": None})
    with_settings = intent_of(job(), job().spec.serving, ARTIFACT, settings, planned_gpus=0)
    assert with_settings == intent_of(job(), job().spec.serving, ARTIFACT, bare, planned_gpus=0)


def test_settings_of_a_newer_operator_that_cannot_be_read_are_named() -> None:
    config = resolve(job(), PLATFORM)
    newer = config.operator["settings"] | {"pod_template": {"hostUsers": False}}
    with pytest.raises(SpecError) as error:
        frozen_settings(config.model_copy(update={"operator": {"settings": newer}}))
    assert str(error.value) == (
        "ConfigMap intents-config: cannot be read by this version of KubeTune "
        "(settings.pod_template.hostUsers: Extra inputs are not permitted); run the version that started "
        "the job, or delete the FineTuneJob and apply it again (finished work is adopted)"
    )
