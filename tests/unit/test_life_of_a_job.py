"""A FineTuneJob is walked through its life: whatever happens, the same rules hold at every step."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubetune.api.v1alpha1 import Status
from kubetune.children.guard import DIGEST
from kubetune.facts.parse import parse_deployment
from kubetune.vocabulary.names import ROLE_SERVING, Names
from tests.support.kstatus import kstatus
from tests.support.simulated import Simulated

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True).filter(
    lambda name: not name.endswith(("-train", "-candidate", "-baseline"))
)
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    nodes, gpus = draw(st.integers(1, 3)), draw(st.sampled_from([0, 1, 8]))
    adapter = draw(st.sampled_from(["LoRA", "Full"]))
    spec: dict[str, Any] = {
        "model": {
            "uri": draw(st.sampled_from(["hf://org/name", "s3://bucket/prefix", "pvc://models/llama"]))
        },
        "dataset": {
            "train": {
                "uri": draw(
                    st.sampled_from(["hf://o/n/train.jsonl", "pvc://data/a.csv", "configMap://c/a.jsonl"])
                )
            }
        },
        "training": {
            "nodes": nodes,
            "gpusPerNode": gpus,
            "batchSize": 24 * nodes,
            "adapter": {"type": adapter, "rank": draw(st.sampled_from([1, 16, 48, 512]))},
            "retries": {"max": draw(st.integers(0, 2))},
        },
    }
    if draw(st.booleans()):
        spec["serving"] = {"replicas": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        spec["dataset"]["validationFraction"] = "0.1"
        spec["evaluation"] = {"metrics": [{"type": "ExactMatch"}], "gate": {}}
    if draw(st.booleans()):
        spec["storage"] = draw(
            st.sampled_from([{"claimName": "models"}, {"whenDeleted": "Delete"}, {"size": "5Gi"}])
        )
    return spec


EVENTS = (
    "complete",
    "lost",
    "crash",
    "invalid",
    "oom",
    "evicted",
    "gone",
    "serve",
    "toggle",
    "worse",
    "later",
    "restart",
)


def happen(cluster: Simulated, event: str) -> None:
    """One thing happens in the cluster."""
    job = cluster.running()
    cluster.later(1)
    if event == "serve":
        cluster.serve(available=2)
        cluster.answered = any(kind == "Deployment" for kind, _ in cluster.objects)
    elif event == "toggle":
        if cluster.raw["spec"].pop("serving", None) is None:
            cluster.raw["spec"]["serving"] = {"replicas": 1}
        cluster.raw["metadata"]["generation"] += 1
        cluster.answered = False
    elif event == "worse":
        cluster.verdict = "Failed"
    elif event == "later":
        cluster.later(700)
    elif event == "restart":
        cluster.pods.clear()  # finished pods were removed while nobody watched
    elif job is None:
        return
    elif event == "complete":
        for rank in range(job["spec"]["completions"]):
            cluster.end_pod(job, 0, rank=rank, message=cluster.summary(job) if rank == 0 else "")
        cluster.reconcile()
        cluster.end_job(job, failed=False)
    elif event == "lost":
        cluster.end_job(job, failed=False)
    elif event == "crash":
        cluster.end_pod(job, 1)
        cluster.reconcile()
        cluster.later(3)
        cluster.end_job(job, failed=True)
    elif event in ("invalid", "oom"):
        cluster.end_pod(job, 42 if event == "invalid" else 43)
        cluster.reconcile()
        cluster.later(3)
        cluster.end_job(job, failed=True, reason="PodFailurePolicy")
    elif event == "evicted":
        cluster.end_pod(job, 44, disrupted=True, deleted=True)
        cluster.end_job(job, failed=True, reason="PodFailurePolicy")
    elif event == "gone":
        message = "Pod team-a/x has condition DisruptionTarget matching FailJob rule at index 1"
        cluster.end_job(job, failed=True, reason="PodFailurePolicy", message=message)


def check(cluster: Simulated) -> None:
    """What holds at every moment."""
    todo = cluster.plan()
    assert todo == cluster.plan(), "the same input, another plan"
    cluster.reconcile()
    again = cluster.plan()
    assert (again.create_once, again.apply, again.delete) == ((), (), ()), "a plan is carried out twice"
    status = cluster.status()
    assert status == cluster.raw["status"], "a status is written twice"
    assert Status.model_validate(status).manifest() == status, "the API server would prune the status"
    cluster.running()  # never two at a time
    attempts = [a for a in status.get("attempts", ()) if a["outcome"] == "Failed"]
    assert len(attempts) <= cluster.job.spec.training.retries.max + 1
    for kind, name in cluster.objects:
        assert len(name) <= 63
        assert DNS_LABEL.fullmatch(name), (kind, name)
    ready = {c["type"]: c["status"] for c in status["conditions"]}
    assert (kstatus(cluster.raw) == "Current") == (ready["Ready"] == "True")
    public = ("Service", cluster.raw["metadata"]["name"]) in cluster.objects
    if status.get("evaluation", {}).get("verdict") == "Failed":
        assert ready["Stalled"] == "True"
        assert not any(kind == "Deployment" for kind, _ in cluster.objects)
        assert not public
    if "evaluation" in cluster.raw["spec"] and ready["Evaluated"] == "False":
        assert ready["Promoted"] == "False"
        assert not public
    deployments = [name for kind, name in cluster.objects if kind == "Deployment"]
    assert len(deployments) <= 1, "the servers of two models hold GPUs at a time"
    if ready["Ready"] == "True":
        assert "artifact" in status
        assert (
            "Deployment",
            cluster.raw["metadata"]["name"],
        ) in cluster.objects or "serving" not in cluster.raw["spec"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(name=NAMES, spec=specs(), events=st.lists(st.sampled_from(EVENTS), max_size=12))
def test_whatever_happens(name: str, spec: dict[str, Any], events: list[str]) -> None:
    cluster = Simulated(name, spec)
    check(cluster)
    for event in events:
        happen(cluster, event)
        check(cluster)


def minimal(**more: Any) -> Simulated:
    return Simulated(
        "intents-1",
        {
            "model": {"uri": "hf://org/name"},
            "dataset": {"train": {"uri": "configMap://c/a.jsonl"}},
            "training": {"gpusPerNode": 0},
            **more,
        },
    )


def test_from_first_visit_to_a_served_model() -> None:
    cluster = minimal(serving={"replicas": 2})
    for event in ("complete", "complete", "serve"):
        check(cluster)
        happen(cluster, event)
    check(cluster)
    assert [name for kind, name in cluster.created if kind != "NetworkPolicy"] == [
        "intents-1-config",
        "intents-1-output",
        "intents-1-train",
        "intents-1-prepare",
        "intents-1-train-1",
        Names("intents-1").guard(ROLE_SERVING, DIGEST),
        "intents-1",
        "intents-1",
    ]
    assert kstatus(cluster.raw) == "Current"


def test_a_lost_message_brings_prepare_back_and_not_training() -> None:
    cluster = minimal()
    check(cluster)
    happen(cluster, "complete")
    check(cluster)
    happen(cluster, "lost")
    check(cluster)
    happen(cluster, "later")
    check(cluster)
    happen(cluster, "complete")
    check(cluster)
    assert [name for kind, name in cluster.created if kind == "Job"] == [
        "intents-1-prepare",
        "intents-1-train-1",
        "intents-1-prepare-2",
    ]
    assert kstatus(cluster.raw) == "Current"


def test_a_message_that_is_only_late_brings_nothing_back() -> None:
    cluster = minimal()
    check(cluster)
    happen(cluster, "complete")
    check(cluster)
    job = cluster.running()
    assert job is not None
    cluster.end_job(job, failed=False)
    check(cluster)
    cluster.end_pod(job, 0, message=cluster.summary(job))
    check(cluster)
    assert [name for kind, name in cluster.created if kind == "Job"] == [
        "intents-1-prepare",
        "intents-1-train-1",
    ]
    assert kstatus(cluster.raw) == "Current"


def test_preemptions_cost_no_retry_and_failures_do() -> None:
    cluster = minimal(training={"gpusPerNode": 0, "retries": {"max": 1}})
    check(cluster)
    happen(cluster, "complete")
    for event in ("evicted", "gone", "evicted", "crash", "evicted", "crash"):
        check(cluster)
        happen(cluster, event)
        check(cluster)
        happen(cluster, "later")
    check(cluster)
    outcomes = [attempt["outcome"] for attempt in cluster.raw["status"]["attempts"]]
    assert outcomes == ["Preempted", "Preempted", "Preempted", "Failed", "Preempted", "Failed"]
    stalled = next(c for c in cluster.raw["status"]["conditions"] if c["type"] == "Stalled")
    assert stalled["reason"] == "RetriesExhausted"


def test_a_changed_use_case_trains_nothing_again() -> None:
    cluster = minimal()
    for event in ("complete", "complete"):
        check(cluster)
        happen(cluster, event)
    check(cluster)
    before = list(cluster.created)
    cluster.raw["spec"]["useCase"] = "Another sentence."
    cluster.raw["metadata"]["generation"] += 1
    check(cluster)
    assert cluster.created == before
    assert kstatus(cluster.raw) == "Current"


def test_serving_that_comes_goes_and_changes() -> None:
    cluster = minimal()
    for event in ("complete", "complete", "toggle", "serve", "toggle", "toggle"):
        check(cluster)
        happen(cluster, event)
    check(cluster)
    key = ("Deployment", "intents-1")
    first = parse_deployment(cluster.objects[key])
    cluster.raw["spec"]["serving"]["engineArgs"] = {"max-model-len": "2048"}
    check(cluster)
    changed = parse_deployment(cluster.objects[key])
    assert changed.uid == first.uid
    assert changed.intent != first.intent
    assert "--max-model-len 2048" in " ".join(changed.live)


def test_drift_of_the_deployment_is_put_right() -> None:
    cluster = minimal(serving={"replicas": 1})
    for event in ("complete", "complete", "serve"):
        check(cluster)
        happen(cluster, event)
    check(cluster)
    cluster.objects["Deployment", "intents-1"]["spec"]["replicas"] = 5
    (manifest,) = cluster.plan().apply
    assert manifest["spec"]["replicas"] == 1


@pytest.mark.parametrize("last", ["evicted", "lost"])
def test_runs_are_counted_once_also_when_their_pods_are_gone(last: str) -> None:
    cluster = minimal(training={"gpusPerNode": 0, "retries": {"max": 0}})
    check(cluster)
    for event in ("evicted", "restart", last, "restart"):
        happen(cluster, event)
        check(cluster)
    evicted = 2 if last == "evicted" else 0
    assert cluster.raw["status"]["retries"] == [
        {"stage": "prepare", "number": 2, "failures": 0, "interruptions": evicted}
    ]


def test_a_training_job_that_somebody_deleted_is_tried_again_for_free() -> None:
    cluster = minimal(training={"gpusPerNode": 0, "retries": {"max": 0}})
    check(cluster)
    happen(cluster, "complete")
    check(cluster)
    del cluster.objects["Job", "intents-1-train-1"]
    check(cluster)
    assert ("Job", "intents-1-train-2") in cluster.objects
    assert cluster.raw["status"]["attempts"][0]["outcome"] == "Preempted"
