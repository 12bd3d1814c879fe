"""A claim that an earlier job left: what a spec asks for beyond it is told, never silently left out."""

# ruff: noqa: E501 - messages are whole

from __future__ import annotations

from typing import Any

import pytest

from kubetune.api.v1alpha1 import FineTuneJob, validate_spec
from kubetune.diagnose import kept_problem
from kubetune.facts.observed import Diagnosis
from kubetune.vocabulary.reasons import Reason

AGAIN = "(delete the FineTuneJob and apply it again; finished work is adopted)"
WHERE = "PersistentVolumeClaim intents-output of an earlier job"


def job(**storage: str) -> FineTuneJob:
    spec = {
        "model": {"uri": "hf://org/model"},
        "dataset": {"train": {"uri": "hf://org/rows"}},
        "training": {"gpusPerNode": 0},
        "storage": storage,
    }
    return validate_spec({"metadata": {"name": "intents"}, "spec": spec})


def claim(size: str, *, capacity: str | None = None, storage_class: str | None = "standard") -> Any:
    return {
        "metadata": {"name": "intents-output"},
        "spec": {
            "resources": {"requests": {"storage": size}},
            **({"storageClassName": storage_class} if storage_class else {}),
        },
        "status": {"capacity": {"storage": capacity}} if capacity else {},
    }


def enlarge(size: str) -> str:
    patch = f'{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}'
    return (
        f"Enlarge it (`kubectl patch pvc intents-output -p '{patch}'`, where its storage class allows that)"
    )


@pytest.mark.parametrize(
    ("wanted", "there", "message"),
    [
        pytest.param(
            job(size="200Gi"),
            claim("20Gi", capacity="20Gi"),
            f"{WHERE} has 20Gi, and storage.size is 200Gi. {enlarge('200Gi')}, delete it with all that it holds, "
            f"or set storage.size to 20Gi {AGAIN}.",
            id="a size that was raised",
        ),
        pytest.param(
            job(storageClassName="fast"),
            claim("20Gi"),
            f"{WHERE} is of storage class standard, and storage.storageClassName is fast. A claim keeps its "
            f"class: ask for standard {AGAIN}, or delete it with all that it holds.",
            id="another class",
        ),
        pytest.param(
            job(storageClassName="fast"),
            claim("20Gi", storage_class=None),
            f"{WHERE} is of storage class (none), and storage.storageClassName is fast. A claim keeps its "
            f"class: remove storage.storageClassName {AGAIN}, or delete it with all that it holds.",
            id="a volume without class",
        ),
    ],
)
def test_a_claim_that_is_less_than_what_is_asked_for(wanted: FineTuneJob, there: Any, message: str) -> None:
    assert kept_problem(wanted, there) == Diagnosis(
        reason=Reason.CLAIM_DIFFERS, message=message, stage="prepare", stalled=True
    )


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        pytest.param(job(size="20Gi"), claim("20480Mi"), id="the same in other units"),
        pytest.param(job(size="10Gi"), claim("20Gi"), id="more than is asked for"),
        pytest.param(job(size="50Gi"), claim("20Gi", capacity="100Gi"), id="a larger volume"),
        pytest.param(job(size="50Gi"), claim("50Gi", capacity="20Gi"), id="one that is being enlarged"),
        pytest.param(job(storageClassName="standard"), claim("20Gi"), id="the same class"),
        pytest.param(job(), claim("20Gi", storage_class="fast"), id="a class that nobody asks for"),
        pytest.param(job(), claim("5Gi"), id="a size that nobody asks for"),
        pytest.param(job(), {}, id="nothing is known"),
    ],
)
def test_a_claim_that_will_do(wanted: FineTuneJob, there: Any) -> None:
    assert kept_problem(wanted, there) is None
