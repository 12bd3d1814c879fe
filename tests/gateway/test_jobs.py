"""From a request to a FineTuneJob, and from a FineTuneJob to what clients are told of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import fine_tuning as sdk
from pydantic import TypeAdapter, ValidationError

from kubetune.api.v1alpha1 import validate_spec
from kubetune_gateway.ids import file_id, job_id, uid_of
from kubetune_gateway.jobs.checkpoints import checkpoints
from kubetune_gateway.jobs.manifest import manifest
from kubetune_gateway.jobs.record import name_of, record
from kubetune_gateway.jobs.status import error_of, status_of
from kubetune_gateway.platform import Base, Platform
from kubetune_gateway.store.places import Places
from kubetune_gateway.wire.errors import ApiError
from kubetune_gateway.wire.jobs import CreateJob, FineTuningJob, Status
from kubetune_trainer.data.files import kind_of_name
from tests.support.golden import cases
from tests.support.golden_jobs import UID, golden

PLATFORM = Platform(
    models={"gpt-4o-mini": Base(uri="hf://Qwen/Qwen3-8B")},
    places=Places("openai"),
    credentials="openai-files",
    spec={"training": {"gpusPerNode": 2}, "serving": {"replicas": 1}},
)


def asked(**fields: Any) -> CreateJob:
    return CreateJob.model_validate({"model": "gpt-4o-mini", "training_file": "file-a", **fields})


def made(request: CreateJob, **other: Any) -> dict[str, Any]:
    return manifest(
        request, PLATFORM, **{"namespace": "team-a", "token": "k3x9q2", "examples": 100, "seed": 7} | other
    )


def stored(job: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    """The object as the API server has it."""
    found = copy.deepcopy(job)
    found["metadata"] |= {"uid": UID, "creationTimestamp": "2026-11-30T18:47:12Z"}
    return found | ({"status": status} if status else {})


def test_a_request_becomes_a_fine_tune_job() -> None:
    request = asked(
        suffix="recipe-ner",
        validation_file="file-b",
        metadata={"team": "search"},
        hyperparameters={"n_epochs": 2, "learning_rate_multiplier": 0.5},
        trainingType="globalstandard",
    )
    assert made(request) == {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {
            "name": "ft-recipe-ner-k3x9q2",
            "namespace": "team-a",
            "annotations": {
                "openai.kubetune.dev/model": "gpt-4o-mini",
                "openai.kubetune.dev/suffix": "recipe-ner",
                "openai.kubetune.dev/training-file": "file-a",
                "openai.kubetune.dev/validation-file": "file-b",
                "openai.kubetune.dev/learning-rate-multiplier": "0.5",
                "openai.kubetune.dev/metadata": '{"team": "search"}',
            },
        },
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen3-8B"},
            "dataset": {
                "train": {
                    "uri": "s3://openai/team-a/files/file-a/content.jsonl",
                    "credentials": {"secretName": "openai-files"},
                },
                "validation": {
                    "uri": "s3://openai/team-a/files/file-b/content.jsonl",
                    "credentials": {"secretName": "openai-files"},
                },
            },
            "training": {
                "gpusPerNode": 2,
                "epochs": 2,
                "batchSize": 2,
                "learningRate": "0.0001",
                "seed": 7,
                "keepEpochs": 2,
            },
            "serving": {"replicas": 1},
        },
    }


def test_a_client_is_told_of_its_job_what_it_asked_for() -> None:
    request = asked(suffix="recipe-ner", metadata={"team": "search"}, seed=105)
    told = record(stored(made(request)))
    numbers = {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 1.0}
    assert (
        told.model_dump()
        == FineTuningJob(
            id=job_id(UID),
            created_at=1796064432,
            model="gpt-4o-mini",
            organization_id="team-a",
            status="validating_files",
            hyperparameters=numbers,
            seed=105,
            training_file="file-a",
            metadata={"team": "search"},
            method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
            user_provided_suffix="recipe-ner",
        ).model_dump()
    )
    assert uid_of(told.id) == UID


def test_method_wins_over_the_older_form_and_auto_is_resolved() -> None:
    request = asked(
        hyperparameters={"n_epochs": 9},
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": "auto", "batch_size": 5}},
            "dpo": {"hyperparameters": {"beta": 0.1}},
        },
    )
    training = made(request, examples=10)["spec"]["training"]
    assert (training["epochs"], training["batchSize"]) == (10, 6)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"hyperparameters": {"n_epochs": 0}}, ("hyperparameters", "n_epochs")),
        ({"hyperparameters": {"batch_size": "many"}}, ("hyperparameters", "batch_size")),
        ({"method": {"type": "dpo"}}, ("method", "type")),
        ({"suffix": "x" * 65}, ("suffix",)),
        ({"suffix": "a:b"}, ("suffix",)),
        ({"seed": -1}, ("seed",)),
        ({"metadata": {"k" * 65: "v"}}, ("metadata",)),
        ({"metadata": {str(n): "v" for n in range(17)}}, ("metadata",)),
        ({"model": ""}, ("model",)),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(fields: dict[str, Any], at: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        asked(**fields)
    assert all(problem["loc"][: len(at)] == at for problem in refused.value.errors())


def test_null_is_absent_everywhere() -> None:
    nulls = dict.fromkeys(("validation_file", "suffix", "seed", "metadata", "hyperparameters", "method"))
    assert asked(**nulls) == asked()


def test_a_model_that_the_platform_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(ApiError) as refused:
        made(asked(model="gpt-5"))
    assert refused.value.body() == {
        "error": {
            "message": "The model gpt-5 cannot be fine-tuned here. Models of this platform: gpt-4o-mini.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


@given(suffix=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True))
def test_any_suffix_makes_a_valid_name(suffix: str) -> None:
    job = made(asked(suffix=suffix))
    assert validate_spec(job).metadata.name.endswith("-k3x9q2")


SAID = {
    "deploying": "running",
    "evaluating": "running",
    "gate-failed": "failed",
    "data-invalid": "failed",
    "trained": "succeeded",
    "serving": "succeeded",
    "training": "running",
    "unschedulable": "queued",
    "minimal-first-visit": "validating_files",
}


@pytest.mark.parametrize("name", cases())
def test_every_golden_job_has_one_of_six_words_and_passes_the_strict_client(name: str) -> None:
    told = record(golden(name))
    assert told.status in get_args(Status)
    assert told.status == SAID.get(name, told.status)
    assert (told.error is not None) == (told.status == "failed")
    assert (told.fine_tuned_model is not None) == (told.status == "succeeded")
    TypeAdapter(sdk.FineTuningJob).validate_python(told.model_dump(mode="json"), strict=False)


def test_every_word_is_said_of_some_golden_job_but_cancelled() -> None:
    assert SAID.keys() <= set(cases())
    assert {*SAID.values(), "cancelled"} == set(get_args(Status))


def test_the_words_are_those_of_the_client() -> None:
    assert set(get_args(Status)) == set(get_args(sdk.FineTuningJob.model_fields["status"].annotation))


@pytest.mark.parametrize(
    ("reason", "message", "code"),
    [
        (
            "DataInvalid",
            "dataset.train has 7 rows, but must have at least 10: add rows.",
            "invalid_n_examples",
        ),
        ("DataInvalid", "Line 3 of train.jsonl has no messages.", "invalid_training_file"),
        ("ModelUnavailable", "It is gated.", "base_model_unavailable"),
        ("GateFailed", "0.1 is below Base's 0.2.", "gate_failed"),
        ("OutOfMemory", "It used more than it had.", "out_of_memory"),
    ],
)
def test_a_failure_has_a_code_that_programs_know(reason: str, message: str, code: str) -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": reason, "message": message}
    error = error_of({"status": {"conditions": [stalled]}})
    assert error is not None
    assert (error.code, error.message) == (code, message)


@given(
    st.dictionaries(
        st.sampled_from(("status", "spec")),
        st.recursive(
            st.none() | st.text(max_size=3) | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(("conditions", "stage", "attempts", "type", "training")),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ),
    )
)
def test_any_object_has_a_word(raw: dict[str, Any]) -> None:
    assert status_of(raw) in get_args(Status)


def test_checkpoints_are_models_beside_the_last_weights() -> None:
    raw = {
        "metadata": {"uid": UID, "namespace": "team-a"},
        "spec": {"model": {"uri": "hf://Qwen/Qwen3-8B"}},
        "status": {"artifact": {"checkpoints": [{"step": 80, "modelName": "first-1:ckpt-step-80"}]}},
    }
    [found] = checkpoints(raw)
    assert (found.step, found.served_name) == (80, "first-1:ckpt-step-80")
    assert found.model == f"{name_of(raw)}:ckpt-step-80"


def test_prepare_knows_what_a_training_file_is() -> None:
    uri = Places("clients").uri("team-a", file_id(b"a" * 16))
    kind = kind_of_name(uri)
    assert kind is not None
    assert kind.form == "jsonl"


def test_whole_models_of_earlier_epochs_are_not_kept() -> None:
    full = replace(PLATFORM, spec={"training": {"gpusPerNode": 1, "adapter": {"type": "Full"}}})
    job = manifest(asked(), full, namespace="team-a", token="k3x9q2", examples=100, seed=7)
    assert "keepEpochs" not in job["spec"]["training"]
