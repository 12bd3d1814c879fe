"""What the pods of a job have taken is counted once each, whatever is forgotten, and priced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from kubetune.api.v1alpha1.status import RunUsage, StageUsage, UsageStatus
from kubetune.decide.usage import usage_of
from kubetune.facts.observed import Ending, Held, Known, Observed, Outcome, Run, RunState
from kubetune.facts.parse import parse_job, parse_pod
from kubetune.facts.runs import judge
from kubetune.facts.views import JobView
from kubetune.spec.prices import Prices, cost_of
from kubetune.stages.table import STAGES
from kubetune.vocabulary.names import TRAIN
from kubetune.vocabulary.reasons import Reason
from tests.support.golden import NOW, load

CASE = load("training")  # one GPU for each pod
PRICES = Prices.model_validate({"gpuHour": "2.50", "podHour": "0.05", "currency": "USD"})
ENDED = Ending(
    outcome=Outcome.FAILED, reason=Reason.POD_FAILED, message="It failed.", finished=None, settled=True
)


def job_view(*, ready: int, pods: int = 2, number: int = 1) -> JobView:
    meta = {"name": f"intents-1-train-{number}", "uid": f"job-{number}"}
    return parse_job({"metadata": meta, "spec": {"completions": pods}, "status": {"ready": ready}})


def on(number: int = 1, *, ready: int = 2, suspended: bool = False) -> Run:
    """A run that is on."""
    return Run(
        stage=TRAIN,
        number=number,
        job=job_view(ready=ready, number=number),
        state=RunState.SUSPENDED if suspended else RunState.RUNNING,
        ending=None,
        started=NOW,
    )


def ended(number: int = 1, held: Held = Held()) -> Run:  # noqa: B008 - frozen
    """A run that has ended; without ``held`` nothing is left of its pods."""
    return Run(
        stage=TRAIN, number=number, job=None, state=RunState.ENDED, ending=ENDED, started=NOW, held=held
    )


def usage(*looks: tuple[int | None, Sequence[Run]], renew: bool = True) -> StageUsage | None:
    """Usage of training after looks at so many seconds; None: a look after which nothing else is written.

    ``renew``: progress is written at the others.
    """
    status: UsageStatus | None = None
    for seconds, runs in looks:
        now = None if seconds is None else NOW + timedelta(seconds=seconds)
        observed = Observed(runs={TRAIN: tuple(runs)})
        status = usage_of(
            CASE.job, observed, status, CASE.settings, now=now, renew=renew and now is not None, stages=STAGES
        )
    return status.stages[0] if status else None


def taken(*looks: tuple[int | None, Sequence[Run]]) -> int:
    """Pod-seconds of training after these looks."""
    found = usage(*looks)
    return found.pod_seconds if found else 0


def test_a_run_that_ended_is_counted_by_its_pods_own_times() -> None:
    assert usage((0, [on()]), (100, [ended(held=Held(seconds=230, whole=True))])) == StageUsage(
        stage=TRAIN, pod_seconds=230, gpu_seconds=230, last_run=RunUsage(number=1, pod_seconds=230)
    )


def test_a_run_that_is_on_counts_the_pods_that_were_ready() -> None:
    assert usage((0, [on(ready=1)]), (100, [on(ready=2)]), (150, [on(ready=2)])) == StageUsage(
        stage=TRAIN,
        pod_seconds=200,
        gpu_seconds=200,
        last_run=RunUsage(number=1, pod_seconds=200, pods=2, update_time=NOW + timedelta(seconds=150)),
    )


def test_pods_that_wait_for_nodes_take_nothing() -> None:
    assert usage((0, [on(ready=0)]), (3600, [on(ready=0)])) is None


def test_a_suspended_run_takes_nothing() -> None:
    assert taken((0, [on()]), (10, [on(suspended=True)]), (3600, [on(suspended=True)])) == 20
    assert taken((0, [on()]), (10, [on(suspended=True)]), (3600, [on()]), (3610, [on()])) == 40


def test_pods_that_nobody_saw_end_are_counted_as_long_as_they_were_seen() -> None:
    assert taken((0, [on()]), (60, [on()]), (100, [ended()]), (900, [ended()])) == 200
    assert taken((0, [on()]), (100, [ended(held=Held(seconds=103))]), (900, [ended()])) == 200
    assert taken((0, [on()]), (10, [ended(held=Held(seconds=103))]), (900, [ended()])) == 103


def test_each_run_is_counted_once_and_stays_when_it_is_forgotten() -> None:
    first, second = ended(1, Held(seconds=100, whole=True)), ended(2, Held(seconds=40, whole=True))
    looks = [(0, [first]), (1, [first]), (2, [ended(1), second]), (3, [ended(1), ended(2)]), (4, [])]
    assert [taken(*looks[:count]) for count in range(1, 6)] == [100, 100, 140, 140, 140]
    assert taken(*looks, (5, [on(30)]), (15, [on(30)])) == 160


def test_runs_that_came_and_went_between_two_looks_are_all_counted() -> None:
    runs = [ended(number, Held(seconds=number, whole=True)) for number in range(1, 5)]
    assert taken((0, [])) == 0
    assert taken((0, runs)) == taken((0, runs[:1]), (1, runs)) == 10


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    assert taken((0, [on()]), (50, [on()]), (-3000, [on()]), (-2990, [on()])) == 120


def test_time_that_goes_by_is_no_reason_to_write() -> None:
    before = usage((0, [on()]), (50, [on()]))
    assert before == usage((0, [on()]), (50, [on()]), (None, [on()]))
    assert usage((None, [on()])) is None


def test_without_progress_only_other_pods_and_ends_change_what_a_run_takes() -> None:
    assert usage((0, [on()]), (50, [on()]), renew=False) is None
    looks = [(0, [on(ready=1)]), (10, [on(ready=1)])]
    status = usage(*looks)
    assert status
    known = UsageStatus(stages=(status,))

    def later(run: Run, seconds: int) -> int:
        observed, now = Observed(runs={TRAIN: (run,)}), NOW + timedelta(seconds=seconds)
        new = usage_of(CASE.job, observed, known, CASE.settings, now=now, stages=STAGES)
        return new.stages[0].pod_seconds if new else 0

    assert later(on(ready=1), 60) == 10
    assert later(on(ready=2), 60) == later(on(ready=0), 60) == later(ended(), 60) == 60


def test_an_end_is_a_reason_to_write_once() -> None:
    looks = [(0, [on()]), (50, [on()])]
    end = (None, [ended(held=Held(seconds=120, whole=True))])
    assert usage(*looks) != usage(*looks, end) == usage(*looks, end, end)


@pytest.mark.parametrize(
    ("pods", "held"),
    [
        ([(0, 0, 100), (1, 10, 100)], Held(seconds=190, whole=True)),
        ([(0, 0, 100)], Held(seconds=100)),
        ([(0, 0, 100), (1, 10, None)], Held(seconds=100)),
        ([(0, 0, 100), (1, None, None)], Held(seconds=100)),
        ([(0, 0, 100), (0, 200, 300), (1, 200, 300)], Held(seconds=300)),
        ([(0, 100, 0), (1, 0, 100)], Held(seconds=100, whole=True)),
        ([], Held()),
    ],
    ids=["all", "one unseen", "no end", "never ran", "suspended before", "clock set back", "none"],
)
def test_pods_are_added_up_by_their_own_times(
    pods: Sequence[tuple[int, int | None, int | None]], held: Held
) -> None:
    views = [parse_pod(pod(number, *spec)) for number, spec in enumerate(pods)]
    assert judge(job_view(ready=0), views, known=Known(), more_memory="").held == held


def pod(number: int, index: int, started: int | None, finished: int | None) -> dict[str, Any]:
    """A pod that failed, with the times in seconds that its kubelet wrote."""

    def stamp(seconds: int | None) -> str | None:
        return None if seconds is None else (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    terminated = {"exitCode": 1, "startedAt": stamp(started), "finishedAt": stamp(finished)}
    return {
        "metadata": {
            "name": f"pod-{number}",
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
        },
        "status": {
            "phase": "Failed",
            "startTime": stamp(started),
            "containerStatuses": [{"name": "trainer", "state": {"terminated": terminated}}],
        },
    }


def test_a_cost_needs_prices() -> None:
    observed = Observed(runs={TRAIN: (ended(held=Held(seconds=7200, whole=True)),)})
    priced = CASE.settings.model_copy(update={"prices": PRICES})
    free = usage_of(CASE.job, observed, None, CASE.settings, now=NOW, stages=STAGES)
    costly = usage_of(CASE.job, observed, None, priced, now=NOW, stages=STAGES)
    assert costly
    assert free == costly.model_copy(update={"cost": None, "currency": None})
    assert (costly.cost, costly.currency) == ("5.1000", "USD")


def test_a_small_job_costs_less_than_a_cent() -> None:
    assert cost_of(PRICES, gpu_seconds=0, pod_seconds=60) == "0.0008"


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpuHour": "2.50"},
        {"gpuHour": 2.5, "currency": "USD"},
        {"gpuHour": "-1", "currency": "USD"},
        {"currency": "$"},
        {"tpuHour": "1", "currency": "USD"},
    ],
)
def test_wrong_prices_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Prices.model_validate(wrong)


def test_usage_goes_along_with_progress() -> None:
    written = CASE.with_status(CASE.status, seconds_later=30)
    assert written.status["usage"] == CASE.status["usage"]
    progress = {**CASE.facts["progress"], "step": 31}
    told = replace(written, facts={**written.facts, "progress": progress}).status["usage"]
    assert told["stages"][1]["lastRun"] == {
        "number": 1,
        "podSeconds": 30,
        "pods": 1,
        "updateTime": "2026-03-01T12:00:30Z",
    }
