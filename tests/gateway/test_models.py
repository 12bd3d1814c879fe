"""Which models there are, who answers as them, and what may be done with them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from openai import types as sdk
from pydantic import TypeAdapter

from kubetune.vocabulary.names import Names
from kubetune_gateway.jobs.record import name_of, record
from kubetune_gateway.models.catalog import listed, model_of
from kubetune_gateway.models.deletion import to_delete
from kubetune_gateway.models.deployments import deploying, deployment, deployments, holder, to_deploy
from kubetune_gateway.models.target import Target, target
from kubetune_gateway.models.tuned import is_made
from kubetune_gateway.platform import Base, Platform
from kubetune_gateway.store.places import Places
from kubetune_gateway.wire.errors import ApiError
from tests.support.golden import cases
from tests.support.golden_jobs import UID, golden

URI = "hf://HuggingFaceTB/SmolLM2-135M-Instruct"
PLATFORM = Platform(
    models={
        "smol": Base(uri=URI),
        "gpt-4o-mini": Base(uri="hf://Qwen/Qwen3-8B", url="http://large.serving.svc/v1", served_name="qwen"),
        "alone": Base(uri="hf://Qwen/Qwen3-32B"),
    },
    places=Places("clients"),
    spec={"serving": {"gpus": 1}},
)
OLDER = "2026-03-01T10:00:00Z"


def job(case: str = "serving", **meta: Any) -> dict[str, Any]:
    raw = copy.deepcopy(golden(case))
    raw["metadata"] |= meta
    if "name" in meta and "serving" in raw["status"]:
        raw["status"]["serving"] |= {"modelName": meta["name"], "url": Names(meta["name"]).url("team-a")}
    return raw


def other(number: int, case: str = "serving", **meta: Any) -> dict[str, Any]:
    """A further job."""
    return job(case, name=f"other-{number}", uid=f"{number:08d}{UID[8:]}", **meta)


def with_checkpoint(raw: dict[str, Any]) -> dict[str, Any]:
    raw["status"]["artifact"]["checkpoints"] = [{"step": 25, "modelName": "intents-1:ckpt-step-25"}]
    return raw


def deployed_as(raw: dict[str, Any], name: str) -> dict[str, Any]:
    raw["metadata"]["annotations"] = {"openai.kubetune.dev/deployment": name}
    return raw


MODEL = name_of(golden("serving"))
CHECKPOINT = f"{MODEL}:ckpt-step-25"


def refused(ask: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as found:
        ask()
    return found.value


@pytest.mark.parametrize(
    ("asked", "served_name"),
    [
        (MODEL, "intents-1"),
        ("intents-1", "intents-1"),
        ("triage", "intents-1"),
        (CHECKPOINT, "intents-1:ckpt-step-25"),
    ],
)
def test_a_job_is_asked_by_any_of_its_names(asked: str, served_name: str) -> None:
    jobs = [other(1), deployed_as(with_checkpoint(job()), "triage"), other(2)]
    assert target(jobs, PLATFORM, asked) == Target(
        url="http://intents-1.team-a.svc/v1", served_name=served_name, label="intents-1"
    )


def test_a_base_model_is_asked_at_the_platforms_server() -> None:
    found = target([], PLATFORM, "gpt-4o-mini")
    assert found == Target(url="http://large.serving.svc/v1", served_name="qwen", label="gpt-4o-mini")


def test_a_base_model_without_a_server_is_asked_at_the_oldest_job_that_has_it_beside_an_adapter() -> None:
    full = other(1, creationTimestamp=OLDER)
    full["status"]["artifact"]["type"] = "Full"
    keyed = other(2, creationTimestamp=OLDER)
    keyed["spec"]["serving"]["apiKey"] = {"secretName": "keys"}
    loading = other(3, case="deploying", creationTimestamp=OLDER)
    del loading["spec"]["serving"]["apiKey"]
    found = target([full, keyed, loading, other(4), job(creationTimestamp=OLDER)], PLATFORM, "smol")
    assert found == Target(
        url="http://intents-1.team-a.svc/v1",
        served_name="HuggingFaceTB/SmolLM2-135M-Instruct",
        label="smol",
    )
    assert refused(lambda: target([loading], PLATFORM, "smol")).code == "model_loading"
    assert refused(lambda: target([full, keyed], PLATFORM, "smol")).code == "model_not_deployed"
    assert refused(lambda: target([job()], PLATFORM, "alone")).code == "model_not_deployed"


def test_a_base_model_wins_over_a_job_of_its_name() -> None:
    assert target([job(name="gpt-4o-mini")], PLATFORM, "gpt-4o-mini").served_name == "qwen"


def gone() -> dict[str, Any]:
    return job(deletionTimestamp="2026-03-02T10:00:00Z")


def keyed() -> dict[str, Any]:
    raw = job()
    raw["spec"]["serving"]["apiKey"] = {"secretName": "keys"}
    return raw


def restarting() -> dict[str, Any]:
    raw = job()
    raw["status"]["serving"]["readyReplicas"] = 0
    served = next(one for one in raw["status"]["conditions"] if one["type"] == "Served")
    served |= {"status": "False", "reason": "Deploying"}
    raw["status"]["stage"] = "serve"
    return raw


@pytest.mark.parametrize(
    ("raw", "status", "code", "said"),
    [
        (gone(), 404, "model_not_found", "does not exist"),
        (job("training"), 404, "model_not_found", "is running"),
        (job("minimal-first-visit"), 404, "model_not_found", "is validating_files"),
        (job("data-invalid"), 404, "model_not_found", "has failed"),
        (job("gate-failed"), 404, "model_not_found", "did not pass its gate. Not passed: ExactMatch 0.78"),
        (job("evaluating"), 404, "model_not_found", "is running"),
        (job("trained"), 404, "model_not_deployed", "PUT /openai/deployments/intents-1"),
        (job("serving-removed"), 404, "model_not_deployed", '{"spec":{"serving":{}}}'),
        (keyed(), 400, "server_has_keys", "http://intents-1.team-a.svc/v1"),
        (restarting(), 503, "model_loading", "does not answer yet"),
    ],
)
def test_why_a_model_is_not_answered_is_said(raw: dict[str, Any], status: int, code: str, said: str) -> None:
    for model in (name_of(raw), raw["metadata"]["name"]):
        error = refused(partial(target, [other(1), raw], PLATFORM, model))
        assert (error.status, error.code, error.param) == (status, code, "model")
        assert said in error.message
        assert (error.retry_after is not None) == (status == 503)


@pytest.mark.parametrize(
    "model", ["gpt-5", "", "ft:", "ft:a:b:c:d", f"{MODEL}:ckpt-step-26", f"{MODEL}:", MODEL[:-1]]
)
def test_what_nobody_has_is_not_found(model: str) -> None:
    assert refused(lambda: target([with_checkpoint(job())], PLATFORM, model)).code == "model_not_found"


@pytest.mark.parametrize("case", ["rollout-failed", "serving"])
def test_earlier_servers_go_on_answering(case: str) -> None:
    assert target([job(case)], PLATFORM, "intents-1").served_name == "intents-1"


@pytest.mark.parametrize("case", cases())
def test_there_is_a_model_of_every_golden_job_that_has_succeeded(case: str) -> None:
    raw = golden(case)
    assert is_made(raw) or record(raw).fine_tuned_model is None
    assert not is_made(raw) or raw["status"]["artifact"]


def test_lists_have_what_has_a_server_with_its_checkpoints_and_base_models() -> None:
    jobs = [
        with_checkpoint(job()),
        other(1, creationTimestamp=OLDER),
        other(2, "trained"),
        other(3, "training"),
        other(4, deletionTimestamp=OLDER),
    ]
    found = listed(jobs, PLATFORM)
    ids = [MODEL, CHECKPOINT, name_of(jobs[1]), "alone", "gpt-4o-mini", "smol"]
    assert [model.id for model in found] == ids
    assert {(model.id in PLATFORM.models, model.owned_by) for model in found} == {
        (False, "team-a"),
        (True, "kubetune"),
    }
    TypeAdapter(list[sdk.Model]).validate_python([model.model_dump() for model in found], strict=True)


def test_a_model_without_a_server_can_be_looked_at_and_deleted() -> None:
    raw = job("trained")
    assert model_of([raw], PLATFORM, MODEL).model_dump() == {
        "id": MODEL,
        "object": "model",
        "created": 1772362800,
        "owned_by": "team-a",
    }
    assert to_delete([other(1), raw], PLATFORM, MODEL) is raw


@pytest.mark.parametrize("model", ["intents-1", "triage", CHECKPOINT, "gpt-5"])
def test_only_by_its_id_a_model_is_looked_at(model: str) -> None:
    jobs = [deployed_as(job(), "triage")]
    assert refused(lambda: model_of(jobs, PLATFORM, model)).code == "model_not_found"


@pytest.mark.parametrize(
    ("raw", "model", "status", "code"),
    [
        (job(), MODEL, 400, "model_deployed"),
        (job(), "smol", 400, "base_model"),
        (with_checkpoint(job()), CHECKPOINT, 400, "checkpoint"),
        (job("trained"), "intents-1", 404, "model_not_found"),
        (job("training"), name_of(golden("training")), 404, "model_not_found"),
    ],
)
def test_what_may_not_be_deleted(raw: dict[str, Any], model: str, status: int, code: str) -> None:
    error = refused(lambda: to_delete([raw], PLATFORM, model))
    assert (error.status, error.code) == (status, code)


def test_a_refusal_to_delete_says_how_to_remove_the_server() -> None:
    said = refused(lambda: to_delete([deployed_as(job(), "triage")], PLATFORM, MODEL)).message
    assert "DELETE /openai/deployments/triage" in said
    assert """kubectl patch finetunejob intents-1 --type=merge -p '{"spec":{"serving":null}}'""" in said


@pytest.mark.parametrize(
    ("case", "status"),
    [("serving", "succeeded"), ("deploying", "running"), ("rollout-failed", "succeeded")],
)
def test_a_server_is_a_deployment_whoever_asked_for_it(case: str, status: str) -> None:
    raw = job(case)
    assert deployments([raw, other(1, "trained"), other(2, "training")]) == [deployment(raw)]
    assert (deployment(raw).id, deployment(raw).model, deployment(raw).status) == ("intents-1", MODEL, status)


def test_a_server_that_a_person_must_mend_has_failed() -> None:
    raw = restarting()
    raw["status"]["conditions"].append({"type": "Stalled", "status": "True", "reason": "ModelMismatch"})
    assert deployment(raw).status == "failed"


def test_a_deployment_sets_what_the_platform_serves_with_and_leaves_a_server_as_it_is() -> None:
    note = {"metadata": {"annotations": {"openai.kubetune.dev/deployment": "triage"}}}
    for case, more in (("trained", {"spec": {"serving": {"gpus": 1}}}), ("serving", {})):
        tuned = to_deploy([job(case)], PLATFORM, name="triage", model=MODEL)
        assert deploying(tuned, PLATFORM, name="triage") == note | more


@pytest.mark.parametrize(
    ("name", "model", "status", "code", "param"),
    [
        ("-a", MODEL, 400, "invalid_value", "name"),
        ("a" * 65, MODEL, 400, "invalid_value", "name"),
        ("a/b", MODEL, 400, "invalid_value", "name"),
        ("smol", MODEL, 400, "invalid_value", "name"),
        ("other-1", MODEL, 400, "name_in_use", "name"),
        ("taken", MODEL, 400, "name_in_use", "name"),
        ("a", "smol", 400, "invalid_value", "model"),
        ("a", CHECKPOINT, 400, "invalid_value", "model"),
        ("a", "gpt-5", 404, "model_not_found", "model"),
        ("a", "other-2", 404, "model_not_found", "model"),
        ("a", "other-1", 400, "already_deployed", "model"),
    ],
)
def test_what_cannot_be_deployed(name: str, model: str, status: int, code: str, param: str) -> None:
    jobs = [with_checkpoint(job()), deployed_as(other(1), "taken"), other(2, "training")]
    error = refused(lambda: to_deploy(jobs, PLATFORM, name=name, model=model))
    assert (error.status, error.code, error.param) == (status, code, param)


def test_a_name_is_held_by_a_server_or_by_who_gave_it() -> None:
    trains, removed = other(1, "training"), deployed_as(other(2, "trained"), "triage")
    assert holder([trains, removed], "other-1") is None
    assert holder([trains, removed], "other-2") is None
    assert holder([trains, removed], "triage") is removed
    assert holder([job()], "intents-1") is not None


def test_of_two_jobs_with_one_deployments_name_the_older_has_it() -> None:
    older = deployed_as(other(1, creationTimestamp=OLDER), "triage")
    jobs = [deployed_as(job(), "triage"), older]
    assert holder(jobs, "triage") is older
    assert target(jobs, PLATFORM, "triage").label == "other-1"
