"""Jobs of a list: those that are there and those that were, in one order, each told as by itself."""

from __future__ import annotations

from typing import Any

from kubetune_gateway.archive.entries import Live, newest_first
from kubetune_gateway.archive.store import Summary
from kubetune_gateway.ids import job_id
from kubetune_gateway.jobs.record import Beside, record
from kubetune_gateway.jobs.remembered import METADATA

NOW = 1_800_000_000.0
UIDS = [f"00000000-0000-4000-8000-{number:012x}" for number in range(4)]


def raw(number: int, *, made: str) -> dict[str, Any]:
    metadata = {
        "name": f"job-{number}",
        "namespace": "team-a",
        "uid": UIDS[number],
        "creationTimestamp": made,
        "annotations": {METADATA: f'{{"number": "{number}"}}'},
    }
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": made}
    return {"metadata": metadata, "spec": {}, "status": {"stage": "done", "conditions": [ready]}}


def summary(of: dict[str, Any], beside: Beside) -> Summary:
    return Summary(job=record(of, beside), beside=beside, is_complete=True, ended_at={"succeeded": 1})


def test_each_job_is_once_in_the_list_and_told_by_its_finetunejob_while_that_is_there() -> None:
    plain, both, gone, same_second = (
        raw(0, made="2026-11-30T10:00:00Z"),
        raw(1, made="2026-11-30T12:00:00Z"),
        raw(2, made="2026-11-30T11:00:00Z"),
        raw(3, made="2026-11-30T10:00:00Z"),
    )
    results, cancelled = Beside(result_file="file-results"), Beside(cancelled_at=5)
    kept = {UIDS[1]: summary(both, results), UIDS[2]: summary(gone, cancelled)}
    found = newest_first([plain, both, same_second], kept)
    told = [each.told(now=NOW) if isinstance(each, Live) else each for each in found]
    ends = sorted((plain, same_second), key=lambda each: job_id(each["metadata"]["uid"]), reverse=True)
    assert told == [record(both, results), record(gone, cancelled), *(record(each) for each in ends)]
    assert [(each.id, each.created_at, each.metadata) for each in found] == [
        (each.id, each.created_at, each.metadata) for each in told
    ]


def test_an_end_that_is_not_kept_yet_is_told_half_a_minute_later() -> None:
    ended = raw(0, made="2026-11-30T10:00:00Z")
    [found] = newest_first([ended], {})
    assert isinstance(found, Live)
    assert found.told(now=found.created_at + 1).status != "succeeded"
    assert found.told(now=found.created_at + 60).status == "succeeded"
