"""Projections of raw objects, and the names that they trust instead of labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.facts.parse import parse_job, parse_pod
from kubetune.vocabulary.names import Names, run_of

JOBS = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)


@given(job=JOBS, number=st.integers(1, 10_000))
def test_every_trainer_job_is_known_by_its_name(job: str, number: int) -> None:
    assert run_of(Names(job).run("train", number)) == ("train", number)
    assert run_of(Names(job).run("prepare", number)) == ("prepare", number)


OTHERS = "job train-1 job-train job-train-0 job-train--1 job-train-01 job-train-1-0 prepare"
OTHERS += " job-prepare-0 job-prepare-1 job-train-9999999999999999999"


@pytest.mark.parametrize("name", OTHERS.split())
def test_other_names_are_no_runs(name: str) -> None:
    assert run_of(name) is None


def test_the_labels_of_a_job_do_not_say_what_it_is() -> None:
    labels = {"kubetune.dev/stage": "prepare", "kubetune.dev/attempt": "-1"}
    job = parse_job({"metadata": {"name": "job-train-3", "labels": labels}})
    assert (job.stage, job.number) == ("train", 3)


def test_a_pod_is_known_by_its_containers() -> None:
    sidecar = {"name": "istio-proxy", "args": ["serve"]}
    trainer = {"name": "trainer", "args": ["train"]}

    def stage(*containers: dict[str, object]) -> str | None:
        labels = {"kubetune.dev/stage": "prepare"}
        return parse_pod({"metadata": {"labels": labels}, "spec": {"containers": [*containers]}}).stage

    assert stage(sidecar, trainer) == "train"
    assert stage(sidecar, {"name": "server"}) == "serve"
    assert stage(sidecar) is None
