"""What Prometheus is told of jobs: of those that there are, and only what they have."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from dev.cluster.ports import free_ports
from kubetune.cluster.index import Index
from kubetune.facts.views import DeploymentView, JobView, Kind, View
from kubetune.process.health import serve_metrics
from kubetune.process.metrics.fields import MetricField
from kubetune.process.metrics.gpus import gpus
from kubetune.process.metrics.job import Job, jobs_of
from kubetune.process.metrics.own import Metrics
from kubetune.servers.rollout import planned_gpus
from kubetune.spec.resources import serving_gpus
from kubetune.vocabulary.names import ROLE_SERVING, Names
from tests.support.golden import cases, load

Told = dict[str, dict[tuple[str, ...], float]]
"""Values by family, and by the values of its labels in their order without namespace and name of the job."""


def job_of(case: str, **status: Any) -> Job:
    """A golden case with the status that it results in, and these fields of it."""
    found = load(case)
    raw = {**found.raw, "status": {**found.status, **status}}
    return Job.of(raw, found.children)


def read(registry: CollectorRegistry) -> Told:
    own = ("namespace", "finetunejob")
    return {
        family.name: {
            tuple(value for label, value in sample.labels.items() if label not in own): sample.value
            for sample in family.samples
        }
        for family in registry.collect()
    }


def told(*jobs: Job, fields: tuple[MetricField, ...] = ()) -> Told:
    registry = CollectorRegistry()
    registry.register(Metrics(fields).jobs(lambda: jobs))
    return {family: series for family, series in read(registry).items() if series}


def with_views(job: Job, **changes: Mapping[str, Any]) -> Job:
    """The job with other fields in its Jobs and Deployments, by their names with _ for -."""

    def changed(view: View) -> View:
        fields = changes.get(view.name.replace("-", "_"), {})
        return replace(view, **fields) if isinstance(view, JobView | DeploymentView) else view

    return replace(job, children=tuple(map(changed, job.children)))


def test_a_job_that_trains() -> None:
    assert told(job_of("training")) == {
        "kubetune_jobs": {("Prepared",): 1, ("Reconciling",): 1},
        "kubetune_job_info": {("hf://HuggingFaceTB/SmolLM2-135M-Instruct",): 1},
        "kubetune_job_state": {("train", "Training"): 1},
        "kubetune_job_attempts": {(): 1},
        "kubetune_job_gpus": {("used",): 1, ("waiting",): 0},
        "kubetune_job_gpu_seconds": {("prepare",): 0, ("train",): 0},
        "kubetune_job_pod_seconds": {("prepare",): 60, ("train",): 0},
        "kubetune_job_progress_ratio": {(): 0.4},
    }


def test_a_job_that_failed_once() -> None:
    found = told(job_of("retry-waits"))
    assert found["kubetune_job_run_failures"] == {("train",): 1}
    assert found["kubetune_job_run_interruptions"] == {("train",): 0}
    assert found["kubetune_job_state"] == {("train", "Retrying"): 1}
    assert "kubetune_job_state" not in told(job_of("retry-waits", stage=None))  # of an earlier version


def test_a_job_that_was_evaluated() -> None:
    usage = {"stages": [], "cost": "12.50", "currency": "USD"}
    found = told(job_of("evaluated", usage=usage))
    assert found["kubetune_job_cost"] == {("USD",): 12.5}
    assert found["kubetune_evaluation_score"] == {
        (candidate, metric): score
        for candidate, score in (("Tuned", 0.78), ("Base", 0.12), ("FewShot", 0.57))
        for metric in ("ExactMatch", "Judge")
    }
    assert "kubetune_job_servers" not in found  # its server is not public yet


def test_a_job_that_serves() -> None:
    job = job_of("serving")
    assert told(job)["kubetune_job_servers"] == {("wanted",): 2, ("ready",): 2}
    half = with_views(job, intents_1={"size": 3, "ready": 1})
    assert told(half)["kubetune_job_servers"] == {("wanted",): 3, ("ready",): 1}
    gone = replace(job, children=())
    assert told(gone)["kubetune_job_servers"] == {("wanted",): 2, ("ready",): 0}


def test_a_new_job_has_little_to_tell() -> None:
    raw = {key: value for key, value in load("minimal-first-visit").raw.items() if key != "status"}
    assert told(Job.of(raw)) == {
        "kubetune_job_info": {("hf://HuggingFaceTB/SmolLM2-135M-Instruct",): 1},
        "kubetune_job_gpus": {("used",): 0, ("waiting",): 0},
    }


@pytest.mark.parametrize("odd", [None, "text", 7, [None, "text"], {"stages": 7, "number": "x"}])
def test_a_status_of_another_version_hides_no_job(odd: Any) -> None:
    """A scrape that fails would hide all of them."""
    fields = ("conditions", "attempts", "retries", "usage", "progress", "evaluation", "plan", "stage")
    found = told(job_of("serving", **dict.fromkeys(fields, odd)))
    assert found["kubetune_job_info"] == {("hf://HuggingFaceTB/SmolLM2-135M-Instruct",): 1}
    assert found["kubetune_job_gpus"] == {("used",): 4, ("waiting",): 0}


def test_numbers_that_are_none_are_not_told() -> None:
    usage = {"cost": "NaN", "currency": "USD"}
    found = told(job_of("training", usage=usage, progress={"step": 3, "totalSteps": 0}))
    assert "kubetune_job_cost" not in found
    assert "kubetune_job_progress_ratio" not in found


@pytest.mark.parametrize(
    ("case", "changes", "used", "waiting"),
    [
        ("training", {}, 1, 0),
        ("training", {"intents_1_train_1": {"ready": 0}}, 0, 1),
        ("training", {"intents_1_train_1": {"ready": 0, "suspended": True}}, 0, 1),
        ("training", {"intents_1_train_1": {"deleting": True}}, 1, 0),
        ("training", {"intents_1_train_1": {"owner_uid": "of-an-earlier-job"}}, 1, 0),
        ("retry-waits", {}, 0, 0),
        ("retries-exhausted", {}, 0, 0),
        ("evaluating", {}, 4, 0),
        ("serving", {}, 4, 0),
        ("serving", {"intents_1": {"ready": 1}}, 2, 2),
        ("serving", {"intents_1": {"ready": 1, "deleting": True}}, 2, 0),
        ("serving", {"intents_1": {"ready": 3}}, 6, 0),
    ],
)
def test_gpus(case: str, changes: dict[str, Any], used: int, waiting: int) -> None:
    assert gpus(with_views(job_of(case), **changes)) == (used, waiting)


def test_children_of_an_earlier_job_of_this_name_are_not_its_own() -> None:
    job = job_of("training")
    raw = {**job.raw, "metadata": {**job.raw["metadata"], "uid": "another"}}
    assert gpus(Job.of(raw, job.children)) == (0, 0)


@pytest.mark.parametrize("case", cases())
def test_a_server_holds_the_gpus_that_it_is_made_with(case: str) -> None:
    golden = load(case)
    job, each = job_of(case), serving_gpus(golden.job, planned_gpus(golden.job, golden.observed))
    [server] = [view for view in job_of("serving").children if isinstance(view, DeploymentView)]
    server = replace(server, name=Names(job.name).server(ROLE_SERVING), ready=1, size=3)
    assert gpus(replace(job, children=(server,))) == (each, 2 * each)


def test_series_vanish_with_the_job() -> None:
    index, registry = Index(), CollectorRegistry()
    registry.register(Metrics().jobs(lambda: jobs_of(index)))
    raw = job_of("training").raw
    key = index.put_parent(Kind.FINE_TUNE_JOB, raw)
    assert key is not None
    assert read(registry)["kubetune_job_attempts"] == {(): 1}
    index.remove_parent(key, raw["metadata"]["uid"])
    assert not any(read(registry).values())


def test_events_are_counted_by_closed_sets() -> None:
    metrics = Metrics()
    before = read(metrics.registry)["kubetune_events"]
    assert set(before.values()) == {0}
    for type_, reason in (
        ("Warning", "OutOfMemory"),
        ("Warning", "OutOfMemory"),
        ("Normal", "Trained"),
        ("Warning", "WrittenByAnotherVersion"),
        ("Normal", ""),
    ):
        metrics.on_event(type_, reason)
    after = read(metrics.registry)["kubetune_events"]
    assert {series: value for series, value in after.items() if value} == {
        ("Warning", "OutOfMemory"): 2,
        ("Normal", "Trained"): 1,
        ("Warning", "Other"): 1,
        ("Normal", "Other"): 1,
    }


def test_a_scrape_is_written_beside_the_loop() -> None:
    """Thousands of jobs take so long that watches and probes would wait for it."""
    metrics, writers = Metrics(), set[bool]()

    def jobs() -> list[Job]:
        writers.add(threading.current_thread() is threading.main_thread())
        return [job_of("training")]

    async def main() -> str:
        [port] = free_ports(1)
        async with serve_metrics(port, metrics, refresh=lambda: None), httpx.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{port}/metrics")).text

    metrics.tell_jobs(jobs)
    text = asyncio.run(main())
    assert 'kubetune_job_attempts{finetunejob="intents-1",namespace="team-a"} 1.0' in text.splitlines()
    assert writers == {False}
