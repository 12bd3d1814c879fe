"""The line that kubectl describe shows first: any status has one, and it repeats no cause."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dev.paths import REPOSITORY
from kubetune.api.crdgen import openapi_schema
from kubetune.decide.abstract import abstract_of, with_abstract

STATUSES = sorted((REPOSITORY / "tests" / "data").glob("*/status.yaml"))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def condition(type_: str, reason: str, *, status: str = "True") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": "The cause, and what to do."}


READY = [condition("Ready", "Serving")]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (
            {"stage": "prepare", "conditions": [condition("Stalled", "DataInvalid")]},
            "Stalled at prepare: DataInvalid. Condition Stalled says why, and what to do.",
        ),
        (
            {
                "stage": "train",
                "conditions": [condition("Reconciling", "Training")],
                "attempts": [{"number": 1}, {"number": 2}],
                "progress": {"summary": "30/75", "loss": "0.913"},
            },
            "Going on at train: Training, step 30/75, attempt 2, loss 0.913. "
            "Condition Reconciling says more.",
        ),
        (
            {
                "stage": "promote",
                "conditions": [condition("Stalled", "GateFailed")],
                "progress": {"summary": "75/75", "loss": "0.4"},
                "evaluation": {
                    "metric": "F1",
                    "candidates": [{"name": "Tuned", "score": "0.1"}, {"name": "Base", "score": "0.2"}],
                },
            },
            "Stalled at promote: GateFailed, F1: Tuned 0.1 against Base 0.2. "
            "Condition Stalled says why, and what to do.",
        ),
        (
            {
                "stage": "done",
                "conditions": READY,
                "progress": {"loss": "0.4", "validationLoss": "0.5"},
                "artifact": {"uri": "pvc://a/b"},
                "serving": {"modelName": "intents", "url": "http://intents.team.svc/v1"},
                "evaluation": {"metric": "F1", "candidates": [{"name": "Tuned", "score": "0.9"}]},
            },
            "Serves as intents at http://intents.team.svc/v1. F1: Tuned 0.9. Trained to loss 0.4 and "
            "validation loss 0.5.",
        ),
        ({"stage": "done", "conditions": READY, "artifact": {"uri": "pvc://a/b"}}, "Done: pvc://a/b."),
        ({"stage": "serve", "conditions": [condition("Ready", "Serving", status="Unknown")]}, "At serve."),
        ({}, "At the start."),
    ],
    ids=["stalled", "training", "gate-failed", "served", "trained", "unknown", "empty"],
)
def test_it_says_how_the_job_stands(status: dict[str, Any], line: str) -> None:
    assert abstract_of(status) == line


@pytest.mark.parametrize("path", STATUSES, ids=lambda path: path.parent.name)
def test_no_cause_stands_twice_in_a_status(path: Any) -> None:
    status = yaml.safe_load(path.read_text()) or {}
    told = [condition["message"] for condition in status.get("conditions", ())]
    causes = [message for message in told if not message.startswith(("See ", "Waits for "))]
    assert len(causes) == len(set(causes))
    assert not any(cause in status.get("abstract", "") for cause in causes)


_conditions = st.lists(
    st.builds(
        condition,
        st.sampled_from(("Ready", "Stalled", "Reconciling")),
        st.just("Serving"),
        status=st.sampled_from(("True", "False")),
    )
    | _json,
    max_size=3,
)
_blocks = {
    "conditions": _conditions | _json,
    "stage": st.sampled_from(("train", "promote", "done")) | _json,
    "progress": st.fixed_dictionaries({"summary": _json, "loss": _json}) | _json,
    "attempts": st.lists(st.fixed_dictionaries({"number": _json}) | _json, max_size=2) | _json,
    "evaluation": st.fixed_dictionaries(
        {"candidates": st.lists(st.fixed_dictionaries({"score": _json}) | _json, max_size=2) | _json}
    )
    | _json,
    "serving": st.fixed_dictionaries({"url": _json}) | _json,
    "artifact": st.fixed_dictionaries({"uri": _json}) | _json,
}


@given(st.fixed_dictionaries({}, optional=_blocks))
def test_any_status_has_one_and_it_stays(status: dict[str, Any]) -> None:
    once = with_abstract(status)
    assert with_abstract(once) == once


def test_describe_shows_it_first() -> None:
    assert min(openapi_schema()["properties"]["status"]["properties"]) == "abstract"
