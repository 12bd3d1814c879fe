"""What others did to children, from objects of any shape; and how long something has been seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kubetune.controller.first_seen import FirstSeen
from kubetune.diagnose import diagnose_held, diagnose_resized, selector_story, story_of, stranger_story
from kubetune.facts.views import Kind


def _long(_uid: str, _what: str) -> timedelta:
    return timedelta(hours=1)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"metadata": None, "spec": None},
        {"metadata": {"managedFields": [{}, {"manager": "x", "fieldsV1": None}], "ownerReferences": [{}]}},
        {"metadata": {"deletionTimestamp": "?", "finalizers": None}},
    ],
)
def test_incomplete_objects_are_no_error(broken: dict[str, Any]) -> None:
    assert story_of(broken, kind=Kind.JOB, job="job", uid="1", seen_for=_long) is None
    assert diagnose_held("train", broken, [broken], _long, kind=Kind.JOB) is None
    assert diagnose_resized("train", broken, wanted=2) is None
    assert selector_story(broken, {}) is None
    assert stranger_story(broken, _long) is None


def test_what_is_not_seen_in_a_look_begins_anew_and_a_look_that_fails_changes_nothing() -> None:
    memory = FirstSeen()
    looks: list[tuple[float, list[str]]] = [(0, ["a", "b"]), (10, ["a"]), (30, ["a", "b"]), (40, ["b"])]
    told = []
    for now, seen in looks:
        with memory.look(now) as seen_for:
            told.append({what: seen_for("uid", what).total_seconds() for what in seen})
    with pytest.raises(RuntimeError), memory.look(50) as seen_for:
        raise RuntimeError
    with memory.look(60) as seen_for:
        told.append({"b": seen_for("uid", "b").total_seconds(), "a": seen_for("uid", "a").total_seconds()})
    assert told == [{"a": 0, "b": 0}, {"a": 10}, {"a": 30, "b": 0}, {"b": 10}, {"b": 30, "a": 0}]
