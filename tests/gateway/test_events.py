"""Events of a job: in the words that programs look for, and page by page."""

from __future__ import annotations

import pytest
from openai.types import fine_tuning as sdk
from pydantic import TypeAdapter

from kubetune_gateway.jobs.events import events
from kubetune_gateway.jobs.record import name_of
from kubetune_gateway.jobs.steps import Step
from kubetune_gateway.wire.events import Event
from kubetune_gateway.wire.pages import page
from tests.support.golden import cases
from tests.support.golden_jobs import golden


def step(number: int, at: int, **metrics: float) -> Step:
    return Step(step=number, at=at, metrics=metrics)


def test_a_job_that_is_served_has_told_its_whole_story() -> None:
    job = golden("serving")
    began = [attempt for attempt in job["status"]["attempts"] if attempt.get("podsReady")]
    told = events(job, [step(1, 1772365900, train_loss=2.514, valid_loss=2.4)])
    messages = [event.message for event in reversed(told)]
    assert messages[:3] == [
        "Created fine-tuning job: ftjob-ogyynj4mfrcubexu6kvvmuuz54",
        f"Validating training file: {job['spec']['dataset']['train']['uri']}",
        "Files validated, moving job to queued state",
    ]
    assert messages.count("Fine-tuning job started") == len(began) == 1
    assert "Step 1/75: training loss=2.51, validation loss=2.40" in messages
    assert messages[-2:] == [
        f"New fine-tuned model created: {name_of(job)}",
        "The job has successfully completed",
    ]
    [measured] = [event for event in told if event.type == "metrics"]
    assert measured.data == {"step": 1, "total_steps": 75, "train_loss": 2.514, "valid_loss": 2.4}


def test_a_gate_that_is_not_passed_is_told_with_its_numbers_before_the_failure() -> None:
    newest, judged, *_ = events(golden("gate-failed"))
    assert newest.level == "error"
    assert (judged.level, judged.message) == (
        "warn",
        golden("gate-failed")["status"]["evaluation"]["message"],
    )


@pytest.mark.parametrize("name", cases())
def test_events_of_every_golden_job_are_the_clients_and_stay_the_same(name: str) -> None:
    job = golden(name)
    told = events(job)
    assert told == events(job)
    assert len({event.id for event in told}) == len(told)
    assert [event.created_at for event in told] == sorted((e.created_at for e in told), reverse=True)
    TypeAdapter(list[sdk.FineTuningJobEvent]).validate_python([event.model_dump() for event in told])


def some(count: int) -> list[Event]:
    return [Event(id=f"ftevent-{n}", created_at=n, message="") for n in range(count)]


@pytest.mark.parametrize(
    ("after", "limit", "ids", "more"),
    [
        (None, 2, [0, 1], True),
        ("ftevent-1", 2, [2, 3], True),
        ("ftevent-3", 2, [4], False),
        ("ftevent-4", 2, [], False),
        ("ftevent-gone", 9, [0, 1, 2, 3, 4], False),
        (None, 0, [], True),
    ],
)
def test_a_page_begins_after_an_id(after: str | None, limit: int, ids: list[int], more: bool) -> None:
    found = page(some(5), after=after, limit=limit)
    assert [item["created_at"] for item in found["data"]] == ids
    assert (found["has_more"], found["first_id"], found["last_id"]) == (
        more,
        f"ftevent-{ids[0]}" if ids else None,
        f"ftevent-{ids[-1]}" if ids else None,
    )


def test_all_pages_together_are_the_list() -> None:
    seen: list[int] = []
    after = None
    while True:
        found = page(some(7), after=after, limit=3)
        seen += [item["created_at"] for item in found["data"]]
        after = found["last_id"]
        if not found["has_more"]:
            break
    assert seen == list(range(7))
