"""Events are counted where they are told: once each, also those that the API server does not take."""

from __future__ import annotations

import pytest

from kubetune.vocabulary.errors import TransientError
from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, Outcome, finetunejob, good, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object, Request

LIFE = [
    ("Normal", "Preparing"),
    ("Normal", "Prepared"),
    ("Warning", "PodFailed"),
    ("Normal", "Training"),
    ("Normal", "Trained"),
]


def fails_once(pod: Object) -> Outcome | None:
    if pod["metadata"]["name"].startswith("job-train-1"):
        return 1, ""
    return good(pod)


@pytest.mark.parametrize("taken", [True, False])
def test_a_life_with_a_failure(taken: bool) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=fails_once)
        operator = Operator(kube=kube)
        if not taken:
            kube.before = no_events
        await operator.start()
        kube.add(finetunejob())
        await until(
            lambda: true_conditions(kube.find("FineTuneJob", "job")) == ["Ready", "Prepared", "Trained"]
        )
        await operator.stop()
        assert operator.told == LIFE
        posted = sorted((event["type"], event["reason"]) for event in kube.of_kind("Event"))
        assert posted == (sorted(LIFE) if taken else [])

    virtual_time.run(main())


def no_events(request: Request) -> None:
    if request.kind == "Event":
        raise TransientError("no answer")
