"""What the conditions say of failures: total, stable from try to try, and on top of what is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.decide.conditions import Finding
from kubetune.decide.failures import failed_status, failure_of
from kubetune.vocabulary.errors import TransientError
from kubetune.vocabulary.reasons import Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
FINDING = Finding(Reason.WEBHOOK_FAILED, "It does not answer.")

_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=10,
)
_conditions = st.dictionaries(
    st.sampled_from(("type", "status", "reason", "lastTransitionTime")),
    st.sampled_from(("Ready", "Served", "True", "False", "2026-01-01T00:00:00Z")) | _json,
)
_statuses = st.dictionaries(st.text(max_size=5), _json, max_size=3) | st.fixed_dictionaries(
    {"conditions": st.lists(_conditions | _json, max_size=4) | _json}
)


@given(_statuses)
def test_any_old_status_takes_it_and_a_second_time_changes_nothing(old: dict[str, Any]) -> None:
    once = failed_status(old, FINDING, generation=1, now=NOW)
    assert failed_status(once, FINDING, generation=1, now=LATER) == once
    told = ("conditions", "observedGeneration", "abstract")
    assert {name: value for name, value in once.items() if name not in told} == {
        name: value for name, value in old.items() if name not in told
    }


def test_it_says_so_in_ready_reconciling_and_the_stage_at_hand_and_leaves_the_others() -> None:
    def condition(type_: str, status: str, reason: str) -> dict[str, Any]:
        stamp = "2025-12-31T00:00:00Z"
        rest = {"observedGeneration": 1, "lastTransitionTime": stamp, "reason": reason, "message": "..."}
        return {"type": type_, "status": status, **rest}

    def told(type_: str, status: str, since: str) -> dict[str, Any]:
        rest = {"observedGeneration": 2, "lastTransitionTime": since}
        return {
            "type": type_,
            "status": status,
            **rest,
            "reason": "WebhookFailed",
            "message": "It does not answer.",
        }

    prepared, trained = condition("Prepared", "True", "Completed"), condition("Trained", "False", "Training")
    served = condition("Served", "False", "Training")
    old = {
        "observedGeneration": 1,
        "attempts": [{"number": 1}],
        "conditions": [
            condition("Ready", "False", "NameConflict"),
            condition("Stalled", "True", "NameConflict"),
            prepared,
            trained,
            served,
        ],
    }
    assert failed_status(old, FINDING, generation=2, now=NOW) == {
        "abstract": "Going on at the start: WebhookFailed. Condition Reconciling says more.",
        "observedGeneration": 2,
        "attempts": [{"number": 1}],
        "conditions": [
            told("Ready", "False", "2025-12-31T00:00:00Z")
            | {"message": "It cannot be seen how far the job is: Reconciling says why."},
            told("Reconciling", "True", "2026-01-01T00:00:00Z"),
            told("Trained", "False", "2025-12-31T00:00:00Z") | {"message": "See Reconciling."},
            prepared,
            served,
        ],
    }


def test_a_job_that_was_ready_is_not_known_to_be() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}
    new = failed_status({"conditions": [ready]}, FINDING, generation=1, now=NOW)
    assert [(c["type"], c["status"]) for c in new["conditions"]] == [
        ("Ready", "Unknown"),
        ("Reconciling", "True"),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("read tcp 10.0.0.7:41234->10.96.0.1:443: reset", "read tcp 10.0.0.7:41235->10.96.0.1:443: reset"),
        ("read tcp [fd00::7]:41234->[fd00::1]:443: reset", "read tcp [fd00::7]:5->[fd00::1]:443: reset"),
        ("context of 9.998s exceeded", "context of 10.004s exceeded"),
        ("not before 2026-01-01T00:00:00.5Z", "not before 2026-01-02T00:00:00Z"),
        ("request id: 8f2e", "request id: 11ab"),
        ("<Pod object at 0x7f00>", "<Pod object at 0x7fa1>"),
        ("for 11111111-2222-3333-4444-555555555555", "for aaaaaaaa-2222-3333-4444-555555555555"),
    ],
)
def test_the_same_cause_has_the_same_words(one: str, other: str) -> None:
    assert failure_of(TransientError(one)) == failure_of(TransientError(other))
    assert failure_of(TransientError(f"Webhook a, {one}")) != failure_of(TransientError(f"Webhook b, {one}"))
