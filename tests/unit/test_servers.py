"""Servers of any role: what rolls them, what is drift, and who else owns what we manage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubetune.api.v1alpha1.serving import Serving
from kubetune.api.v1alpha1.status import PlanStatus, Status
from kubetune.api.v1alpha1.storage import Storage
from kubetune.children.chat import chat_arguments
from kubetune.facts.managers import owned_by_others
from kubetune.servers.intent import intent_of
from kubetune.servers.rollout import architecture_of, rollout
from kubetune.spec.settings import JobSettings
from kubetune.vocabulary.names import ROLE_SERVING, Names
from kubetune_trainer.contract.messages import CheckpointSummary
from tests.support.golden import load

CASE = load("deploying")


class NewServing(Serving):
    """The block as a newer API has it."""

    added: int = 3


class NewSettings(JobSettings):
    """The settings as a newer operator has them."""

    added: str | None = None


def _intent(
    *, serving: Serving | None = None, settings: JobSettings | None = None, planned: int = 0
) -> str | None:
    spec = CASE.job.spec.model_copy(update={"serving": serving or CASE.job.spec.serving})
    job = CASE.job.model_copy(update={"spec": spec})
    return intent_of(
        job, job.spec.serving, CASE.observed.artifact, settings or CASE.settings, planned_gpus=planned
    )


@pytest.mark.parametrize("given", [{}, {"added": 3}], ids=["left out", "by the API server's default"])
def test_a_field_that_a_newer_api_adds_rolls_no_server(given: dict[str, Any]) -> None:
    serving = CASE.job.spec.serving
    assert serving is not None
    newer = NewServing.model_validate({**serving.manifest(), **given})
    assert _intent(serving=newer) == _intent()
    assert _intent(serving=newer.model_copy(update={"added": 4})) != _intent()


def test_a_setting_that_a_newer_operator_adds_rolls_no_server() -> None:
    newer = NewSettings.model_validate(CASE.settings.model_dump())
    assert _intent(settings=newer) == _intent()
    assert _intent(settings=newer.model_copy(update={"added": "x"})) != _intent()


def test_adapters_of_earlier_epochs_make_another_server() -> None:
    assert CASE.observed.artifact is not None
    kept = (CheckpointSummary(step=25, epoch=1), CheckpointSummary(step=50, epoch=2))
    artifacts = [
        CASE.observed.artifact.model_copy(update={"checkpoints": some}) for some in ((), kept[:1], kept)
    ]
    intents = [
        intent_of(CASE.job, CASE.job.spec.serving, artifact, CASE.settings, planned_gpus=0)
        for artifact in artifacts
    ]
    assert intents[0] == _intent()
    assert len(set(intents)) == 3


def test_only_the_image_that_settings_resolve_to_rolls_a_server() -> None:
    others = {"trainer_image": "other:1", "serving_cpu_image": "other:1"}  # its servers use GPUs
    assert _intent(settings=CASE.settings.model_copy(update=others)) == _intent()
    assert _intent(settings=CASE.settings.model_copy(update={"serving_image": "other:1"})) != _intent()


def test_the_plan_rolls_a_server_only_where_it_changes_its_gpus() -> None:
    assert _intent(planned=4) == _intent(), "the spec says how many"
    open_ = Serving()
    assert _intent(serving=open_, planned=1) == _intent(serving=open_, planned=0)
    assert _intent(serving=open_, planned=4) != _intent(serving=open_, planned=0)


def test_a_server_gets_the_gpus_that_prepare_says_at_the_same_look_and_after() -> None:
    spec = CASE.job.spec.model_copy(update={"serving": Serving()})
    job, prepared = CASE.job.model_copy(update={"spec": spec}), CASE.observed.prepared
    assert prepared is not None
    plan = prepared.plan.model_copy(update={"serving_gpus": 4})
    observed = replace(CASE.observed, prepared=prepared.model_copy(update={"plan": plan}))
    later = job.model_copy(update={"status": Status(plan=PlanStatus(serving_gpus=4))})
    for at, seen in ((job, observed), (later, replace(observed, prepared=None))):
        (server,) = rollout(
            at, seen, CASE.config, CASE.settings, role=ROLE_SERVING, service=ROLE_SERVING
        ).apply
        (container,) = server["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "4"}
        assert container["args"][container["args"].index("--tensor-parallel-size") + 1] == "4"


def test_the_server_of_the_result_has_the_jobs_name_and_others_their_role() -> None:
    names = Names("intents-1")
    assert (names.server("serving"), names.server("candidate")) == ("intents-1", "intents-1-candidate")
    assert (names.role_of("intents-1"), names.role_of("intents-1-train")) == ("serving", None)


ADOPTED = load("adopted")
"""A server on CPU, seen for the first time at the same look as what prepare found."""


def _dtype(architecture: str, serving: dict[str, Any]) -> tuple[str | None, str | None]:
    """What vLLM is started with, and what the guard is told of it."""
    spec = ADOPTED.job.spec.model_copy(update={"serving": Serving.model_validate(serving)})
    job, prepared = ADOPTED.job.model_copy(update={"spec": spec}), ADOPTED.observed.prepared
    assert prepared is not None
    found = prepared.model.model_copy(update={"architecture": architecture})
    observed = replace(ADOPTED.observed, prepared=prepared.model_copy(update={"model": found}))
    (server,) = rollout(
        job, observed, ADOPTED.config, ADOPTED.settings, role=ROLE_SERVING, service=ROLE_SERVING
    ).apply
    (container,) = server["spec"]["template"]["spec"]["containers"]
    args, env = container["args"], {item["name"]: item.get("value") for item in container["env"]}
    given = args[args.index("--dtype") + 1] if "--dtype" in args else None
    return given, env["KUBETUNE_SERVED_DTYPE"]


@pytest.mark.parametrize(
    ("architecture", "serving", "dtype"),
    [
        ("LlamaForCausalLM", {}, ("float32", "float32")),
        ("Qwen3ForCausalLM", {}, ("float32", "float32")),
        ("Qwen3NextForCausalLM", {}, ("bfloat16", "bfloat16")),
        ("Qwen3_5ForConditionalGeneration", {}, ("bfloat16", "bfloat16")),
        ("Qwen3_5ForConditionalGeneration", {"engineArgs": {"dtype": "half"}}, ("half", "half")),
        ("Qwen3_5ForConditionalGeneration", {"gpus": 1}, (None, "auto")),
    ],
)
def test_a_server_on_cpu_computes_in_float32_unless_its_architecture_cannot(
    architecture: str, serving: dict[str, Any], dtype: tuple[str | None, str | None]
) -> None:
    assert _dtype(architecture, serving) == dtype


def test_the_architecture_is_known_while_prepare_runs_again() -> None:
    job = load("message-lost").job
    assert architecture_of(job, replace(ADOPTED.observed, prepared=None)) == "LlamaForCausalLM"
    assert architecture_of(ADOPTED.job, replace(ADOPTED.observed, prepared=None)) == ""


CONTAINER = 'k:{"name":"server"}'


@pytest.mark.parametrize(
    ("entries", "owners"),
    [
        pytest.param([], {}, id="nobody"),
        pytest.param(
            [
                {"manager": "kubetune", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {
                    "manager": "kube-controller-manager",
                    "subresource": "scale",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}},
                },
                {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {"f:replicas": {}}}},
                {
                    "manager": "kubectl-edit",
                    "fieldsV1": {
                        "f:spec": {
                            "f:template": {
                                "f:spec": {"f:containers": {CONTAINER: {"f:image": {}, "f:args": {}}}}
                            }
                        }
                    },
                },
            ],
            {"kube-controller-manager": ("replicas",), "kubectl-edit": ("image", "args")},
            id="an autoscaler and a person",
        ),
        pytest.param([{"manager": "x", "fieldsV1": None}, {}], {}, id="nonsense"),
    ],
)
def test_who_else_owns_what_we_manage(entries: list[Any], owners: dict[str, tuple[str, ...]]) -> None:
    assert owned_by_others({"metadata": {"managedFields": entries}}) == owners


def test_a_server_writes_prompts_and_stops_as_the_artifact_was_trained() -> None:
    artifact, config = CASE.observed.artifact, CASE.config
    assert artifact is not None
    assert config is not None
    assert chat_arguments(config, artifact) == []  # of an earlier trainer
    rows = config.dataset.model_copy(update={"chat_template_kwargs": {"enable_thinking": False}})
    config = config.model_copy(update={"dataset": rows})
    artifact = artifact.model_copy(update={"chat_content": "string", "generation_config": True})
    path = f"/output/{artifact.path}"
    assert chat_arguments(config, artifact) == [
        "--tokenizer-mode", "hf",
        "--chat-template", f"{path}/chat_template.jinja",
        "--chat-template-content-format", "string",
        "--default-chat-template-kwargs", '{"enable_thinking": false}',
        "--generation-config", path,
    ]  # fmt: skip


SURGE, IN_PLACE = {"maxSurge": 1, "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize(
    ("serving", "step"),
    [
        ({"gpus": 1}, IN_PLACE),  # a full node has no GPU for a second one, and the volume is only there
        ({}, IN_PLACE),
        ({"gpus": 0}, SURGE),
        ({"gpus": 1, "replicas": 2}, SURGE),  # their claim can be used on other nodes
    ],
)
def test_servers_that_hold_the_gpus_of_one_node_give_them_up_first(
    serving: dict[str, Any], step: dict[str, int]
) -> None:
    spec = CASE.job.spec.model_copy(update={"serving": Serving.model_validate(serving)})
    job = CASE.job.model_copy(update={"spec": spec})
    (server,) = rollout(
        job, CASE.observed, CASE.config, CASE.settings, role=ROLE_SERVING, service=ROLE_SERVING
    ).apply
    assert server["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": step}


def test_a_claim_of_ones_own_may_be_of_one_node_too() -> None:
    changes = {"serving": Serving(gpus=1), "storage": Storage.model_validate({"claimName": "mine"})}
    job = CASE.job.model_copy(update={"spec": CASE.job.spec.model_copy(update=changes)})
    (server,) = rollout(
        job, CASE.observed, CASE.config, CASE.settings, role=ROLE_SERVING, service=ROLE_SERVING
    ).apply
    assert server["spec"]["strategy"]["rollingUpdate"] == IN_PLACE
