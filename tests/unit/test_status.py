"""What the status keeps, when it changes, and what it remembers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kubetune.decide.status import compute_status
from kubetune.decide.transitions import transitions
from kubetune.vocabulary.errors import SpecError
from kubetune.vocabulary.names import TRAIN
from kubetune_trainer.contract.messages import Progress
from tests.support.golden import Case, cases, load


def at_step(case: Case, step: int, *, seconds_later: int) -> dict[str, Any]:
    """Status after the case's own was written, when rank 0 is at another step."""
    written = case.with_status(case.status, seconds_later=seconds_later)
    progress = {**case.facts["progress"], "step": step}
    return replace(written, facts={**written.facts, "progress": progress}).status


def test_progress_is_written_every_30_seconds() -> None:
    case = load("training")
    assert at_step(case, 31, seconds_later=29)["progress"]["step"] == 30
    assert at_step(case, 31, seconds_later=30)["progress"]["summary"] == "31/75"


def test_the_same_step_is_written_once() -> None:
    case = load("training")
    assert at_step(case, 30, seconds_later=300) == case.status


def test_recent_progress_goes_along_when_something_else_is_written() -> None:
    case = load("training")
    written = case.with_status({**case.status, "observedGeneration": 0}, seconds_later=1)
    progress = Progress.model_validate({**case.facts["progress"], "step": 31})
    observed = replace(written.observed, progress=progress)
    status = compute_status(written.job, observed, written.config, now=written.now)
    assert status["progress"]["step"] == 31


def test_at_the_end_progress_is_what_the_attempt_told_last() -> None:
    case = load("trained")
    stale = {
        "step": 60,
        "epoch": "1.60",
        "trainedTokens": 800,
        "lastCheckpointStep": 40,
        "warnings": ["Slow."],
    }
    case = case.with_status({**case.status, "progress": {**stale, "warnings": ["Slow."]}}, seconds_later=0)
    last = {"step": 75, "total_steps": 75, "epoch": "2.00", "loss": "0.5", "trained_tokens": 1000}
    told = Progress.model_validate({**last, "last_checkpoint_step": 70, "last_checkpoint_time": 1772365200})
    run = replace(case.observed.runs_of(TRAIN)[-1], progress=told)
    runs = {**case.observed.runs, TRAIN: (run,)}
    status = compute_status(case.job, replace(case.observed, runs=runs), case.config, now=case.now)
    assert status["progress"] == {
        "summary": "75/75",
        "step": 75,
        "totalSteps": 75,
        "epoch": "2.00",
        "loss": "0.412",
        "trainedTokens": 1000,
        "lastCheckpointStep": 70,
        "lastCheckpointTime": "2026-03-01T11:40:00Z",
        "warnings": ["Slow."],
        "updateTime": "2026-03-01T11:54:00Z",
    }
    assert case.with_status(status, seconds_later=600).status == status


RDMA = {"rdma/hca_shared_devices_a": "1", "nvidia.com/gpu": "1"}


def _warned(*, nodes: int = 2, limits: dict[str, str] = RDMA, transport: str | None = "Sockets") -> list[str]:
    """Warnings of the status of a gang whose NCCL has chosen."""
    case = load("training")
    training = {**case.raw["spec"]["training"], "nodes": nodes, "resources": {"limits": limits}}
    raw = {**case.raw, "spec": {**case.raw["spec"], "training": training}}
    progress = {**case.facts["progress"], "transport": transport, "warnings": ["V100 has no bfloat16."]}
    told = replace(case, raw=raw, facts={**case.facts, "progress": progress}).status["progress"]
    assert told.get("transport") == transport
    assert told["warnings"][-1] == "V100 has no bfloat16."
    return list(told["warnings"][:-1])


@pytest.mark.parametrize(
    "resource",
    ["rdma/hca_shared_devices_a", "vpc.amazonaws.com/efa", "nvidia.com/mlnx_rdma_pf", "acme.com/ib0"],
)
def test_rdma_devices_that_nccl_leaves_unused_are_warned_of(resource: str) -> None:
    (warning,) = _warned(limits={resource: "1"}, transport="Sockets; P2P within a node")
    assert f"over TCP (NCCL chose sockets), and {resource} in training.resources is unused" in warning


def test_nothing_is_unused_where_nothing_was_asked_for_or_all_is_used() -> None:
    assert _warned(limits={"nvidia.com/gpu": "1", "ibm.com/default": "1", "acme.com/rdma": "0"}) == []
    assert _warned(transport="InfiniBand (GPUDirect); NVLink within a node") == []
    assert _warned(transport=None) == []
    assert _warned(nodes=1, transport="P2P") == []


def test_transition_times_change_with_the_status_of_a_condition_only() -> None:
    before, after = load("training"), load("trained")
    status = after.with_status(before.status, seconds_later=60).status
    times = {c["type"]: c["lastTransitionTime"] for c in status["conditions"]}
    assert times == {
        "Ready": "2026-03-01T12:01:00Z",
        "Prepared": "2026-03-01T12:00:00Z",
        "Trained": "2026-03-01T12:01:00Z",
    }


@pytest.mark.parametrize(
    "name", ["trained", "serving", "out-of-memory", "retries-exhausted", "adopted", "kept-epochs"]
)
def test_a_status_survives_the_loss_of_all_pods(name: str) -> None:
    case = load(name)
    written = case.with_status(case.status, seconds_later=600)
    podless = tuple(raw for raw in case.cluster if raw["kind"] != "Pod")
    assert replace(written, cluster=podless).status == case.status


@pytest.mark.parametrize("name", ["trained", "retries-exhausted", "kept-epochs"])
def test_a_status_survives_the_loss_of_all_training_jobs(name: str) -> None:
    case = load(name)
    written = case.with_status(case.status, seconds_later=600)
    jobless = tuple(raw for raw in case.cluster if "-train-" not in raw["metadata"]["name"])
    assert replace(written, cluster=jobless).status == case.status


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"sha256": "0" * 64}, {"sha256": "0" * 64}),
        ({"validation_rows": 20, "leaked_rows": 3}, {"validationRows": 20, "leakedRows": 3}),
        ({"validation_rows": 20}, {"validationRows": 20, "leakedRows": 0}),
    ],
    ids=["digest of rows from a web server", "leaked rows", "no leaked rows"],
)
def test_what_prepare_found_is_kept(found: dict[str, Any], told: dict[str, Any]) -> None:
    case = load("trained")
    prepared = case.observed.prepared
    assert prepared is not None
    dataset = prepared.dataset.model_copy(update=found)
    observed = replace(case.observed, prepared=prepared.model_copy(update={"dataset": dataset}))
    status = compute_status(case.job, observed, case.config, now=case.now)
    assert status["dataset"] == {**case.status["dataset"], **told}
    written = case.with_status(status, seconds_later=600)
    podless = tuple(raw for raw in case.cluster if raw["kind"] != "Pod")
    assert replace(written, cluster=podless).status == status


def test_only_the_newest_attempts_are_listed() -> None:
    case = load("retries-exhausted")
    observed = case.observed
    first = observed.runs_of(TRAIN)[0]
    runs = {**observed.runs, TRAIN: tuple(replace(first, number=number) for number in range(1, 31))}
    status = compute_status(case.job, replace(observed, runs=runs), case.config, now=case.now)
    assert [a["number"] for a in status["attempts"]] == list(range(11, 31))


def test_an_invalid_spec_is_stalled_before_there_is_anything() -> None:
    case = load("minimal-first-visit")
    error = SpecError("spec.training.resources", "2 GPUs are not 1", "remove it")
    status = compute_status(case.job, case.observed, None, now=case.now, error=error)
    stalled = next(c for c in status["conditions"] if c["type"] == "Stalled")
    assert (stalled["reason"], stalled["message"]) == (
        "InvalidSpec",
        "spec.training.resources: 2 GPUs are not 1; remove it",
    )


def test_an_attempt_is_final_when_all_its_pods_have_ended() -> None:
    case = load("retry-after-crash")
    failed = [raw for raw in case.cluster if not raw["metadata"]["name"].endswith("0-q2w3e")]
    for raw in failed:
        raw.get("status", {}).get("conditions", [])[1:] = []  # no Failed yet
    still = replace(case, cluster=tuple(failed))
    assert still.status["attempts"][0]["outcome"] == "Running"
    assert not still.plan.create_once
    assert case.status["attempts"][0]["outcome"] == "Failed"


@pytest.mark.parametrize("name", cases())
def test_a_second_later_nothing_has_changed(name: str) -> None:
    case = load(name)
    later = replace(case, facts={**case.facts, "now": case.now + timedelta(seconds=1)})
    written = case.with_status(case.status, seconds_later=1)
    assert written.status == case.status
    assert {c["reason"] for c in later.status["conditions"]} == {
        c["reason"] for c in case.status["conditions"]
    }


@pytest.mark.parametrize(
    ("ready", "progress", "message"),
    [
        (0, False, "Attempt 1 starts: 0 of 2 pods are ready."),
        (1, False, "Attempt 1 starts: 1 of 2 pods are ready."),
        (2, False, "Attempt 1 runs on 2 pods."),
        (1, True, "Attempt 1 runs: 1 of 2 pods are ready."),
    ],
)
def test_how_many_pods_of_an_attempt_are_ready_is_said(ready: int, progress: bool, message: str) -> None:
    case = load("training")
    spec = {**case.raw["spec"], "training": {**case.raw["spec"]["training"], "nodes": 2, "batchSize": 32}}
    case = replace(
        case,
        raw={**case.raw, "spec": spec},
        cluster=tuple(
            {**child, "status": {**child["status"], "ready": ready}}
            if child["metadata"]["name"].endswith("-train-1")
            else child
            for child in case.cluster
        ),
        facts=case.facts if progress else {},
    )
    assert _condition(case.status, "Reconciling")["message"] == message


def test_learning_that_goes_wrong_is_the_reason_while_it_does() -> None:
    case = load("training")
    warning = "Step 31: the loss is 6.00 over the last 8 steps, after 1.02 at step 20."
    case = replace(case, facts={**case.facts, "progress": {**case.facts["progress"], "warnings": [warning]}})
    said = _condition(case.status, "Reconciling")
    assert said["reason"] == "TrainingDegraded"
    assert said["message"] == f"Attempt 1 runs on 1 pod. {warning}"
    assert case.status["progress"]["warnings"] == [warning]
    (note,) = transitions(load("training").status["conditions"], case.status["conditions"])
    assert (note.type, note.reason, note.message) == ("Warning", "TrainingDegraded", said["message"])


def test_the_best_weights_are_told_by_their_step() -> None:
    case = load("training")
    progress = Progress.model_validate({**case.facts["progress"], "best_step": 20})
    status = compute_status(case.job, replace(case.observed, progress=progress), case.config, now=case.now)
    assert status["progress"]["bestStep"] == 20


@pytest.mark.parametrize(
    ("count", "named"),
    [
        (1, "Pod a-0 is left"),
        (3, "Pod a-0, Pod a-1, Pod a-2 are left"),
        (5, "Pod a-0, Pod a-1, Pod a-2 and 2 more are left"),
    ],
)
def test_what_is_waited_for_is_named(count: int, named: str) -> None:
    case = load("earlier-incarnation")
    observed = replace(case.observed, earlier=tuple(f"Pod a-{number}" for number in range(count)))
    waiting = _condition(compute_status(case.job, observed, case.config, now=case.now), "Reconciling")
    assert waiting["reason"] == "WaitingForEarlierPods"
    assert waiting["message"].startswith(named)


def _condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == type_)


def test_a_trainer_that_does_not_say_when_it_saved_is_understood() -> None:
    case = load("training")
    older = {name: value for name, value in case.facts["progress"].items() if name != "last_checkpoint_time"}
    progress = replace(case, facts={**case.facts, "progress": older}).status["progress"]
    expected = case.status["progress"]
    assert expected.pop("lastCheckpointTime") == "2026-03-01T11:58:00Z"
    assert progress == expected
