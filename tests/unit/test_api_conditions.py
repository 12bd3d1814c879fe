"""Conditions keep their transition time while their status is the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kubetune.api.conditions import (
    Condition,
    ConditionStatus,
    find_condition,
    is_true,
    merge_conditions,
    new_condition,
    set_condition,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def ready(
    status: ConditionStatus, now: datetime = NOW, reason: str = "Training", message: str = ""
) -> Condition:
    return new_condition("Ready", status, reason=reason, message=message, generation=1, now=now)


STALLED = new_condition("Stalled", "False", reason="Training", generation=1, now=NOW)


def test_the_same_status_keeps_its_time() -> None:
    (merged,) = merge_conditions([ready("False")], [ready("False", LATER, reason="Deploying")])
    assert merged.reason == "Deploying"
    assert merged.last_transition_time == NOW.replace(microsecond=0)


def test_another_status_takes_the_new_time() -> None:
    (merged,) = merge_conditions([ready("False")], [ready("True", LATER)])
    assert merged.last_transition_time == LATER.replace(microsecond=0)


def test_merging_drops_what_the_new_set_lacks_and_keeps_its_order() -> None:
    served = new_condition("Served", "True", reason="Serving", generation=1, now=NOW)
    assert merge_conditions([served, ready("False")], [STALLED, ready("False", LATER)]) == (
        STALLED,
        ready("False"),
    )


def test_merging_twice_changes_nothing() -> None:
    once = merge_conditions([ready("False")], [ready("True", LATER), STALLED])
    assert merge_conditions(once, [ready("True", LATER + timedelta(hours=1)), STALLED]) == once


def test_setting_replaces_in_place_or_appends() -> None:
    both = set_condition([ready("False")], STALLED)
    assert [condition.type for condition in both] == ["Ready", "Stalled"]
    assert set_condition(both, ready("True", LATER)) == (ready("True", LATER), STALLED)


def test_finding() -> None:
    conditions = [ready("Unknown"), STALLED]
    assert find_condition(conditions, "Stalled") == STALLED
    assert find_condition(conditions, "Served") is None
    assert not is_true(conditions, "Ready")
    assert is_true([ready("True")], "Ready")


def test_a_condition_as_json() -> None:
    assert ready("False", message="m" * 5000).manifest() == {
        "type": "Ready",
        "status": "False",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "reason": "Training",
        "message": "m" * 4093 + "...",
    }


def test_a_condition_comes_back_from_json() -> None:
    assert Condition.model_validate(ready("True").manifest()) == ready("True")
