"""Kubernetes Events are written at transitions only, each cause once."""

from __future__ import annotations

from typing import Any

from kubetune.decide.transitions import EventNote, transitions
from tests.support.golden import load


def conditions(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load(name).status["conditions"]
    return found


def told(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(note.type, note.reason) for note in transitions(old, new)]


def test_the_first_visit_is_one_event() -> None:
    assert told([], conditions("minimal-first-visit")) == [("Normal", "Preparing")]


def test_prepared_and_training() -> None:
    assert told(conditions("minimal-first-visit"), conditions("training")) == [("Normal", "Prepared")]


def test_a_failed_attempt_is_told_by_its_own_reason() -> None:
    assert told(conditions("training"), conditions("retry-waits")) == [("Warning", "PodFailed")]


def test_a_preemption_is_no_warning() -> None:
    assert told(conditions("training"), conditions("preemption-free")) == [("Normal", "Preempted")]


def test_a_stall_is_told_once() -> None:
    (note,) = transitions(conditions("minimal-first-visit"), conditions("data-invalid"))
    assert (note.type, note.reason) == ("Warning", "DataInvalid")
    assert note.message.endswith("finished work is adopted.")


def test_trained_and_nothing_more_to_do() -> None:
    assert told(conditions("training"), conditions("trained")) == [("Normal", "Trained")]


def test_another_message_under_the_same_reason_is_no_event() -> None:
    old = conditions("training")
    new = [{**condition, "message": "other"} for condition in old]
    assert transitions(old, new) == ()


def test_broken_conditions_are_no_error() -> None:
    assert transitions([{}], [{}]) == ()
    stalled = {"type": "Stalled", "status": "True"}
    assert transitions([], [stalled]) == (EventNote(type="Warning", reason="", message=""),)
