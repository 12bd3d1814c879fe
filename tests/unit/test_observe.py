"""Whose children are they, and what does the operator make of what it did not expect?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubetune.facts.observed import Held, Observed, Outcome
from kubetune.facts.parse import parse_pod
from kubetune.facts.views import Kind
from kubetune.stages.observe import observe
from kubetune.vocabulary.names import PREPARE, TRAIN
from tests.support import messages
from tests.support.golden import Case, load, parse_child

UID = "7d4b0f1e-2c3a-4b5d-8e6f-90a1b2c3d4e5"
LABEL = "kubetune.dev/finetunejob"


def child(
    kind: str, name: str, *, owner: str | None = UID, label: str | None = "intents-1", **more: Any
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": "team-a", "uid": f"uid-{name}", **more}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "controller": True}]
    if label:
        meta["labels"] = {LABEL: label}
    return {"kind": kind, "metadata": meta}


def watch(case: Case, *children: dict[str, Any]) -> Observed:
    views = [parse_child(raw) for raw in children]
    return observe(case.job, views, diagnosis=None, progress=None)


CLAIM = ("PersistentVolumeClaim", "intents-1-output")


@pytest.mark.parametrize(
    ("raw", "verdict"),
    [
        (child("ConfigMap", "intents-1-config"), "ours"),
        (child("ConfigMap", "intents-1-config", owner=None, label=None), "conflict"),
        (child("ConfigMap", "intents-1-config", owner="other", label=None), "conflict"),
        (child("ConfigMap", "intents-1-config", owner=None), "conflict"),
        (child("ConfigMap", "intents-1-config", owner="earlier"), "earlier"),
        (child(*CLAIM), "ours"),
        (child(*CLAIM, owner=None), "ours"),
        (child(*CLAIM, owner=None, label=None), "conflict"),
        (child(*CLAIM, owner="earlier"), "earlier"),
        (child("Job", "intents-1-train-7", owner="earlier"), "earlier"),
        (child("Job", "intents-1-prepare-2", owner=None, label=None), "conflict"),
        (child("Job", "intents-1-other", owner=None), "nothing"),
        (child("ConfigMap", "notes", owner=None), "nothing"),
        (child("Service", "intents-1", owner=None, label=None), "nothing"),
        (child("Deployment", "intents-1", owner="somebody"), "nothing"),
    ],
)
def test_whose_child_it_is(raw: dict[str, Any], verdict: str) -> None:
    observed = watch(load("minimal-first-visit"), raw)
    found = {
        "ours": bool(observed.present),
        "conflict": bool(observed.conflicts),
        "earlier": observed.earlier,
    }
    assert [name for name, holds in found.items() if holds] == ([] if verdict == "nothing" else [verdict])


def test_the_names_of_servers_matter_when_there_is_a_server_to_make() -> None:
    foreign = child("Service", "intents-1", owner=None, label=None)
    assert watch(load("adopted"), foreign).conflicts == ((Kind.SERVICE, "intents-1"),)


def test_a_foreign_claim_does_not_matter_when_the_spec_names_another() -> None:
    case = load("claims")
    assert watch(case, child("PersistentVolumeClaim", "from-claims-output", owner=None)).conflicts == ()


@pytest.mark.parametrize(("phase", "waits"), [("Running", True), ("Pending", True), ("Failed", False)])
def test_pods_of_no_job_of_ours_keep_new_ones_from_starting(phase: str, waits: bool) -> None:
    raw = child("Pod", "intents-1-train-1-0-abcde", owner="a-job-that-is-gone") | {"status": {"phase": phase}}
    raw["spec"] = {"containers": [{"name": "trainer", "args": ["train"]}]}
    observed = watch(load("minimal-first-visit"), raw)
    assert observed.earlier == (("Pod intents-1-train-1-0-abcde",) if waits else ())


def test_servers_do_not_write_and_keep_nothing_from_starting() -> None:
    raw = child("Pod", "intents-1-6d5f-abcde", owner="a-replica-set") | {"status": {"phase": "Running"}}
    raw["metadata"]["labels"]["kubetune.dev/stage"] = "serve"
    assert not watch(load("minimal-first-visit"), raw).earlier


def test_a_recorded_verdict_stands_when_other_pods_are_seen_later() -> None:
    case = load("retry-after-crash")
    written = case.with_status(case.status, seconds_later=60)
    only_the_cleaned_up_pod = tuple(
        raw for raw in case.cluster if not raw["metadata"]["name"].endswith("r4t5y")
    )
    observed = replace(written, cluster=only_the_cleaned_up_pod).observed
    assert observed.runs_of(TRAIN) == tuple(
        replace(attempt, from_step=None, to_step=41, held=Held(seconds=190))
        for attempt in written.observed.runs_of(TRAIN)
    )


_NONSENSE = messages.prepared().replace('"parameters":134515008', '"parameters":-1')


@pytest.mark.parametrize("message", ["Downloading shards: 100%\n", _NONSENSE], ids=["log", "nonsense"])
def test_success_without_a_usable_summary_is_a_failure_that_names_the_images(message: str) -> None:
    case = load("cpu")
    silent = [parse_child(raw) for raw in case.cluster if raw["kind"] != "Pod"]
    pod = next(raw for raw in case.cluster if raw["kind"] == "Pod")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    ended["message"] = message
    observed = observe(case.job, [*silent, parse_pod(pod)], diagnosis=None, progress=None)
    assert observed.prepared is None
    run = observed.last_run(PREPARE)
    assert run is not None
    assert run.ending is not None
    assert run.ending.outcome is Outcome.FAILED
    assert "image" in run.ending.message
    assert observed.tally(PREPARE).failures == 1


def test_labels_and_annotations_that_make_no_sense_are_no_error() -> None:
    raw = child("Pod", "x") | {"status": {"phase": "Failed", "containerStatuses": [{"name": "trainer"}]}}
    raw["metadata"]["labels"] |= {"kubetune.dev/attempt": "many", "kubetune.dev/stage": "?"}
    raw["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": "-"}
    assert watch(load("minimal-first-visit"), raw) == watch(load("minimal-first-visit"))
