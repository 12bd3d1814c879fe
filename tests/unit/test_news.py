"""How soon a change of a child is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune.cluster.debounce import LINGER, patience
from kubetune.facts.parse import parse_child
from kubetune.facts.views import Kind, View


def _child(kind: Kind, name: str, *, status: dict[str, Any], **more: Any) -> View:
    meta = {"namespace": "team", "name": name, "uid": name, **more.pop("metadata", {})}
    return parse_child({"metadata": meta, "status": status, **more}, kind)


def _job(
    *conditions: str, name: str = "job-train-1", completions: int = 2, metadata: dict[str, Any] | None = None
) -> View:
    status = {"active": 1, "conditions": [{"type": type_, "status": "True"} for type_ in conditions]}
    return _child(Kind.JOB, name, status=status, spec={"completions": completions}, metadata=metadata or {})


def _pod(rank: int, phase: str, *, job: str = "job-train-1") -> View:
    meta = {
        "annotations": {"batch.kubernetes.io/job-completion-index": str(rank)},
        "ownerReferences": [{"controller": True, "uid": job}],
    }
    return _child(Kind.POD, f"{job}-{rank}", status={"phase": phase}, metadata=meta)


def _deployment(*, ready: int, metadata: dict[str, Any] | None = None) -> View:
    return _child(Kind.DEPLOYMENT, "job", status={"readyReplicas": ready}, metadata=metadata or {})


DELETED = {"deletionTimestamp": "2026-03-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("view", "others"),
    [
        pytest.param(_pod(1, "Succeeded"), [_job(), _pod(0, "Succeeded")], id="the last pod of a gang"),
        pytest.param(_pod(0, "Failed"), [_job()], id="a pod that failed"),
        pytest.param(
            _pod(0, "Succeeded", job="job-prepare"),
            [_job(name="job-prepare", completions=1), _job()],
            id="the end of prepare",
        ),
        pytest.param(_pod(0, "Succeeded"), [], id="a pod whose Job is not known yet"),
        pytest.param(_job("Complete"), [_pod(0, "Succeeded")], id="a verdict before the pods have said it"),
        pytest.param(_job("FailureTarget"), [_pod(0, "Failed")], id="a failure while others still run"),
        pytest.param(_job(metadata=DELETED), [], id="a Job that somebody deletes"),
        pytest.param(_deployment(ready=1), [], id="a server that can answer"),
        pytest.param(_deployment(ready=0, metadata=DELETED), [], id="a Deployment that somebody deletes"),
    ],
)
def test_what_moves_a_job_on_is_looked_at_at_once(view: View, others: list[View]) -> None:
    assert patience(view, [view, *others]) == 0


@pytest.mark.parametrize(
    ("view", "others"),
    [
        pytest.param(_pod(0, "Succeeded"), [_job()], id="the first pod of a gang that succeeds"),
        pytest.param(_job(), [], id="a Job that counts its pods"),
        pytest.param(_job("SuccessCriteriaMet"), [_pod(0, "Succeeded")], id="a Job that is about to end"),
        pytest.param(
            _job("Complete"), [_pod(0, "Succeeded"), _pod(1, "Succeeded")], id="what all pods have said"
        ),
        pytest.param(_job("Failed"), [_pod(0, "Succeeded"), _pod(1, "Failed")], id="what a failed gang said"),
        pytest.param(_deployment(ready=0), [], id="a Deployment without a server"),
    ],
)
def test_what_leads_to_nothing_by_itself_waits_for_what_comes_next(view: View, others: list[View]) -> None:
    assert patience(view, [view, *others]) == LINGER
