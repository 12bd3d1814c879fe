"""What the operator chooses where the spec is silent, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune.api.v1alpha1 import validate_spec
from kubetune.children.server import base_name, lora_rank
from kubetune.spec.resolve import check_serving, frozen_settings, resolve
from kubetune.spec.resources import (
    evaluator_resources,
    prepare_resources,
    serving_resources,
    training_resources,
)
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.errors import SpecError
from kubetune.vocabulary.quantities import amount_of, bytes_of, mebibytes
from kubetune_trainer.contract.config import AdoptedConfig, ServingConfig, TrainerConfig

SETTINGS = JobSettings(trainer_image="trainer:1", serving_image="vllm:1", serving_cpu_image="vllm-cpu:1")


def job(*, name: str = "intents-1", model: str = "hf://org/name", **spec: Any) -> Any:
    training = {"gpusPerNode": 1} | spec.pop("training", {})
    return validate_spec(
        {
            "metadata": {"name": name, "namespace": "team-a", "uid": "1"},
            "spec": {
                "model": {"uri": model},
                "dataset": {"train": {"uri": "pvc://data/rows/train.jsonl"}},
                "training": training,
                **spec,
            },
        }
    )


@pytest.mark.parametrize(("adapter", "rate"), [("LoRA", "0.0002"), ("Full", "0.00002")])
def test_the_learning_rate_follows_the_adapter(adapter: str, rate: str) -> None:
    assert resolve(job(training={"adapter": {"type": adapter}}), SETTINGS).training.learning_rate == rate


def test_a_learning_rate_that_is_given_stays() -> None:
    assert resolve(job(training={"learningRate": "2e-3"}), SETTINGS).training.learning_rate == "0.002"


def test_labels_that_the_platform_lists_go_to_the_model_card() -> None:
    labels = {"team": "payments", "example.com/stage": "trial", "argocd.argoproj.io/instance": "models"}
    labelled = job().model_copy(update={"metadata": job().metadata.model_copy(update={"labels": labels})})
    listed = ("useCase", "labels.example.com/stage", "labels.team", "labels.absent")
    settings = SETTINGS.model_copy(update={"metric_fields": listed})
    assert resolve(labelled, settings).labels == {"example.com/stage": "trial", "team": "payments"}
    assert resolve(labelled, SETTINGS).labels == {}
    assert resolve(labelled, settings).run_key == resolve(labelled, SETTINGS).run_key


def test_arguments_of_the_chat_template_are_what_their_text_says() -> None:
    texts = {"thinking": "false", "level": "3", "part": "0.5", "mood": "calm", "code": "007", "none": "null"}
    rows = {
        "train": {"uri": "pvc://data/train.jsonl"},
        "chatTemplate": "{{ mood }}",
        "chatTemplateKwargs": texts,
    }
    dataset = resolve(job(dataset=rows), SETTINGS).dataset
    assert dataset.chat_template == "{{ mood }}"
    assert dataset.chat_template_kwargs == {
        "thinking": False, "level": 3, "part": 0.5, "mood": "calm", "code": "007", "none": "null",
    }  # fmt: skip


@pytest.mark.parametrize("given", [{}, {"onLeak": "Warn"}, {"onLeak": "Fail"}])
def test_what_follows_on_leaks_is_told_to_the_trainer(given: dict[str, str]) -> None:
    rows = {"train": {"uri": "pvc://data/train.jsonl"}, **given}
    assert resolve(job(dataset=rows), SETTINGS).dataset.on_leak == given.get("onLeak", "Warn")


@pytest.mark.parametrize(
    ("uri", "revision", "mount"),
    [
        ("hf://org/name", "main", None),
        ("s3://bucket/prefix", None, None),
        ("pvc://models/llama/8b", None, "/inputs/model/llama/8b"),
    ],
)
def test_models(uri: str, revision: str | None, mount: str | None) -> None:
    model = resolve(job(model=uri), SETTINGS).model
    assert (model.revision, model.mount) == (revision, mount)


def test_files_on_claims_and_in_config_maps_have_a_path() -> None:
    dataset = {
        "train": {"uri": "pvc://data/rows/train.jsonl"},
        "validation": {"uri": "configMap://c/test.jsonl"},
    }
    found = resolve(job(dataset=dataset), SETTINGS).dataset
    assert found.train.mount == "/inputs/train/rows/train.jsonl"
    assert found.validation is not None
    assert found.validation.mount == "/inputs/validation/test.jsonl"


@pytest.mark.parametrize(
    ("spec", "image"),
    [
        ({}, "vllm:1"),
        ({"training": {"gpusPerNode": 0}}, "vllm-cpu:1"),
        ({"serving": {"gpus": 0}}, "vllm-cpu:1"),
        ({"serving": {"image": "mine:1"}}, "mine:1"),
    ],
)
def test_the_serving_image_follows_the_gpus(spec: dict[str, Any], image: str) -> None:
    assert resolve(job(**spec), SETTINGS).images.serving == image


def test_settings_survive_the_config_map_and_an_upgrade() -> None:
    settings = SETTINGS.model_copy(
        update={"run_as_user": None, "fs_group": None, "image_pull_secrets": ("a",)}
    )
    config = TrainerConfig.model_validate_json(resolve(job(), settings).model_dump_json())
    assert frozen_settings(config) == settings
    newer = config.operator["settings"] | {"added_later": 1}
    assert frozen_settings(config.model_copy(update={"operator": {"settings": newer}})) == settings


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"gpusPerNode": 0}, {"limits": {"memory": "4Gi"}, "requests": {"cpu": "1", "memory": "4Gi"}}),
        (
            {"gpusPerNode": 2, "batchSize": 32},
            {
                "limits": {"nvidia.com/gpu": "2"},
                "requests": {"cpu": "4", "memory": "24Gi", "nvidia.com/gpu": "2"},
            },
        ),
        (
            {"gpusPerNode": 0, "resources": {"limits": {"memory": "2Gi"}}},
            {"limits": {"memory": "2Gi"}, "requests": {"cpu": "1", "memory": "2Gi"}},
        ),
        (
            {"gpusPerNode": 1, "resources": {"requests": {"cpu": "8"}}},
            {
                "limits": {"nvidia.com/gpu": "1"},
                "requests": {"cpu": "8", "memory": "12Gi", "nvidia.com/gpu": "1"},
            },
        ),
    ],
)
def test_training_resources(training: dict[str, Any], expected: dict[str, Any]) -> None:
    assert training_resources(job(training=training), SETTINGS) == expected


def test_prepare_takes_little_and_no_gpu() -> None:
    assert prepare_resources(job(), SETTINGS) == {
        "limits": {"memory": "16Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }
    small = job(training={"gpusPerNode": 0, "resources": {"limits": {"memory": "512Mi"}}})
    assert prepare_resources(small, SETTINGS) == {
        "limits": {"memory": "512Mi"},
        "requests": {"cpu": "500m", "memory": "512Mi"},
    }


def test_prepare_passes_quotas_on_all_that_training_resources_name() -> None:
    """A quota on limits.cpu takes no pod without one, and prepare has no resources of its own to set."""
    limits = {"nvidia.com/gpu": "1", "cpu": "8", "memory": "64Gi", "ephemeral-storage": "20Gi"}
    large = job(training={"resources": {"limits": limits}})
    assert prepare_resources(large, SETTINGS) == {
        "limits": {"cpu": "8", "ephemeral-storage": "20Gi", "memory": "64Gi"},
        "requests": {"cpu": "500m", "ephemeral-storage": "1Gi", "memory": "1Gi"},
    }
    tiny = {"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "100Mi"}
    small = job(training={"gpusPerNode": 0, "resources": {"limits": tiny}})
    assert prepare_resources(small, SETTINGS) == {
        "limits": dict(sorted(tiny.items())),
        "requests": dict(sorted(tiny.items())),
    }
    requested = job(training={"resources": {"requests": {"ephemeral-storage": "5Gi"}}})
    assert prepare_resources(requested, SETTINGS) == {
        "limits": {"memory": "16Gi"},
        "requests": {"cpu": "500m", "ephemeral-storage": "1Gi", "memory": "1Gi"},
    }


@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("given", [None, {"requests": {"memory": "32Gi"}}, {"limits": {"cpu": "8"}}])
@pytest.mark.parametrize("of", [prepare_resources, evaluator_resources])
def test_what_reads_bytes_of_strangers_has_a_memory_limit(of: Any, gpus: int, given: Any) -> None:
    training = {"gpusPerNode": gpus} | ({} if given is None else {"resources": given})
    found = of(job(training=training), SETTINGS)
    assert amount_of(found["requests"]["memory"]) <= amount_of(found["limits"]["memory"]) <= 16 * 2**30


def test_a_server_gets_the_gpus_that_prepare_says_else_one_when_training_has_some() -> None:
    assert serving_resources(job(serving={}), SETTINGS)["limits"] == {"nvidia.com/gpu": "1"}
    assert serving_resources(job(serving={}), SETTINGS, 4) == {
        "limits": {"nvidia.com/gpu": "4"},
        "requests": {"cpu": "8", "memory": "48Gi", "nvidia.com/gpu": "4"},
    }
    assert serving_resources(job(serving={"gpus": 2}), SETTINGS, 4)["limits"] == {"nvidia.com/gpu": "2"}
    on_cpu = job(training={"gpusPerNode": 0}, serving={})
    assert serving_resources(on_cpu, SETTINGS, 4)["limits"] == {"memory": "8Gi"}


@pytest.mark.parametrize(
    ("serving", "expected"),
    [
        (None, None),
        ({}, ServingConfig()),
        ({"gpus": 4}, ServingConfig(gpus=4)),
        ({"resources": {"limits": {"nvidia.com/gpu": "1"}}}, ServingConfig(gpus=1)),
        (
            {"engineArgs": {"max-model-len": "4096", "gpu-memory-utilization": "0.95"}},
            ServingConfig(max_model_len=4096, gpu_memory_utilization="0.95"),
        ),
        ({"engineArgs": {"tool-call-parser": "hermes"}}, ServingConfig(tool_call_parser=True)),
    ],
)
def test_prepare_is_told_what_a_server_holds_and_takes(
    serving: dict[str, Any] | None, expected: ServingConfig | None
) -> None:
    assert resolve(job(serving=serving) if serving is not None else job(), SETTINGS).serving == expected


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (
            {"training": {"resources": {"limits": {"nvidia.com/gpu": "2"}}}},
            "spec.training.resources.limits[nvidia.com/gpu]",
        ),
        (
            {"training": {"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}}},
            "spec.training.resources.requests[memory]",
        ),
        (
            {"serving": {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}}},
            "spec.serving.resources.requests[cpu]",
        ),
    ],
)
def test_resources_that_contradict_themselves_are_refused(spec: dict[str, Any], field: str) -> None:
    check = check_serving if "serving" in spec else resolve
    with pytest.raises(SpecError) as caught:
        check(job(**spec), SETTINGS)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://org/name", "org/name"),
        ("s3://bucket/models/llama", "llama"),
        ("pvc://models/intents-1", "intents-1-base"),
    ],
)
def test_the_base_model_never_has_the_jobs_name(uri: str, name: str) -> None:
    assert base_name(job(model=uri)) == name


@pytest.mark.parametrize(
    ("rank", "step"), [(1, 1), (2, 8), (8, 8), (16, 16), (48, 64), (257, 320), (512, 512)]
)
def test_ranks_are_rounded_up_to_what_the_server_takes(rank: int, step: int) -> None:
    assert lora_rank(rank) == step


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [("500m", "0.5"), ("4Gi", str(4 * 2**30)), ("1.5k", "1500"), ("3", "3"), ("?", "0")],
)
def test_quantities(quantity: str, amount: str) -> None:
    assert str(amount_of(quantity).normalize()) == str(type(amount_of("1"))(amount).normalize())


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 2040109466])
def test_mebibytes_do_not_grow_when_they_are_read_again(size: int) -> None:
    assert mebibytes(bytes_of(mebibytes(size))) == mebibytes(size)


@pytest.mark.parametrize(("gpus", "memory"), [(0, None), (2, 80 * 10**9)])
def test_an_artifact_is_judged_by_the_gpus_of_its_server(gpus: int, memory: int | None) -> None:
    adopting = validate_spec(
        {
            "metadata": {"name": "intents-1", "namespace": "team-a", "uid": "1"},
            "spec": {
                "model": {"uri": "hf://org/name"},
                "artifact": {"uri": "pvc://adapters/intents", "digest": f"sha256:{'0f' * 32}"},
                "serving": {"gpus": gpus},
            },
        }
    )
    settings = SETTINGS.model_copy(update={"gpu_memory_bytes": 80 * 10**9})
    config = resolve(adopting, settings)
    assert config.adopt == AdoptedConfig(
        uri="pvc://adapters/intents", mount="/inputs/artifact/intents", digest=f"sha256:{'0f' * 32}"
    )
    assert config.gpu_memory_bytes == memory
    assert config.dataset.train is None
