"""GitOps tools read a FineTuneJob rightly at every moment of its life."""

from __future__ import annotations

import pytest

from tests.support.golden import load
from tests.support.kstatus import kstatus

EXPECTED = {
    "minimal-first-visit": "InProgress",
    "training": "InProgress",
    "retry-after-crash": "InProgress",
    "unschedulable": "InProgress",
    "earlier-incarnation": "InProgress",
    "deploying": "InProgress",
    "rollout-failed": "InProgress",
    "out-of-memory": "Failed",
    "data-invalid": "Failed",
    "retries-exhausted": "Failed",
    "name-conflict": "Failed",
    "storage-not-shared": "Failed",
    "trained": "Current",
    "serving": "Current",
    "serving-removed": "InProgress",
    "deleted": "Terminating",
}


@pytest.mark.parametrize(("name", "verdict"), EXPECTED.items())
def test_kstatus_of_a_golden_case(name: str, verdict: str) -> None:
    case = load(name)
    assert kstatus({**case.raw, "status": case.status}) == verdict


@pytest.mark.parametrize("name", EXPECTED)
def test_abnormal_conditions_are_there_only_when_true(name: str) -> None:
    conditions = {c["type"]: c for c in load(name).status["conditions"]}
    for abnormal in ("Reconciling", "Stalled"):
        assert conditions.get(abnormal, {"status": "True"})["status"] == "True"
    assert not ("Reconciling" in conditions and "Stalled" in conditions)


def test_the_first_status_says_that_work_goes_on() -> None:
    status = load("minimal-first-visit").status
    ready, reconciling = status["conditions"][:2]
    assert status["observedGeneration"] == 1
    assert (ready["type"], ready["status"]) == ("Ready", "Unknown")
    assert (reconciling["type"], reconciling["status"]) == ("Reconciling", "True")


def test_a_change_that_was_not_seen_yet_is_in_progress() -> None:
    case = load("trained")
    changed = {**case.raw, "metadata": {**case.raw["metadata"], "generation": 2}, "status": case.status}
    assert kstatus(changed) == "InProgress"
