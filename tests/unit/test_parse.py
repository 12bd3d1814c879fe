"""Projections of raw objects, and the names that they trust instead of labels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.cluster.index import Index
from kubetune.facts.parse import parse_child, parse_job, parse_pod
from kubetune.facts.views import Kind
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


_ANY: st.SearchStrategy[Any] = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.just("True")


def _parts(*names: str) -> st.SearchStrategy[Any]:
    """JSON that has fields of these names anywhere, each with anything in it."""
    return st.recursive(
        _ANY,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=5)
        ),
        max_leaves=12,
    )


_META = _parts("labels", "annotations", "ownerReferences", "uid", "name", "resourceVersion", "controller")
_STATUS = _parts(
    "conditions", "type", "status", "containerStatuses", "name", "state", "terminated", "exitCode"
)
_SPEC = _parts("containers", "name", "args", "template", "spec", "completions", "nodeName", "command")


@given(
    st.fixed_dictionaries({}, optional={"metadata": _META, "spec": _SPEC, "status": _STATUS}),
    st.sampled_from(Kind),
)
def test_no_object_breaks_the_parser_and_none_without_uid_is_known(raw: dict[str, Any], kind: Kind) -> None:
    view = parse_child(raw, kind)
    hash(view)
    index = Index()
    index.put(view)
    assert index.all_keys() == ({view.key} if view.uid and view.key else set())


def test_a_time_of_deletion_that_is_null_is_none() -> None:
    assert not parse_job({"metadata": {"name": "job-train-3", "deletionTimestamp": None}}).deleting


def test_a_pod_is_known_by_its_containers() -> None:
    sidecar = {"name": "istio-proxy", "args": ["serve"]}
    trainer = {"name": "trainer", "args": ["train"]}

    def stage(*containers: dict[str, object]) -> str | None:
        labels = {"kubetune.dev/stage": "prepare"}
        return parse_pod({"metadata": {"labels": labels}, "spec": {"containers": [*containers]}}).stage

    assert stage(sidecar, trainer) == "train"
    assert stage(sidecar, {"name": "server"}) == "serve"
    assert stage(sidecar) is None
