"""Whatever keeps failing is in the conditions within a minute, and gone from them when it has healed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from typing_extensions import override

from kubetune.api.v1alpha1 import FineTuneJob
from kubetune.cluster.kube.errors import Target, from_failure, from_response
from kubetune.controller.earlier import SETTLED_AFTER
from kubetune.stages.stage import Stage
from kubetune.stages.table import STAGES
from kubetune.vocabulary.errors import KubeTuneError, TransientError
from tests.support import virtual_time
from tests.support.harness import (
    NAMESPACE,
    Controllers,
    Operator,
    Outcome,
    condition_of,
    finetunejob,
    good,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object, Request
from tests.support.told import job_of

Answer = Callable[[Request], Exception]

ACCOUNT = "system:serviceaccount:kubetune:operator"
WEBHOOK = (
    'Internal error occurred: failed calling webhook "x.example.com": failed to call webhook: Post '
    '"https://x.example.svc:443/?timeout=10s": read tcp 10.0.0.7:{port}->10.96.0.9:443: i/o timeout'
)
PORTS = count(40000)
PLURALS = {"Job": "jobs", "Pod": "pods", "FineTuneJob": "finetunejobs/status", "Service": "services"}


def _answer(request: Request, status: int, message: str) -> KubeTuneError:
    target = Target(verb=request.verb, kind=request.kind, namespace=NAMESPACE, name=request.name)
    return from_response(target, status, {}, json.dumps({"kind": "Status", "message": message}).encode())


def webhook_down(request: Request) -> Exception:
    """Each time from another port."""
    return _answer(request, 500, WEBHOOK.format(port=next(PORTS)))


def no_right(request: Request) -> Exception:
    plural = PLURALS[request.kind]
    what = f'cannot {request.verb} resource "{plural}" in API group "batch" in the namespace "{NAMESPACE}"'
    return _answer(request, 403, f'{plural}.batch is forbidden: User "{ACCOUNT}" {what}')


def no_answer(request: Request) -> Exception:
    target = Target(verb=request.verb, kind=request.kind, namespace=NAMESPACE, name=request.name)
    return from_failure(target, TimeoutError())


def overloaded(request: Request) -> Exception:
    error = _answer(request, 429, "too many requests")
    assert isinstance(error, TransientError)
    error.retry_after = 300.0
    return error


def not_found(request: Request) -> Exception:
    return _answer(request, 404, "the server could not find the requested resource")


def bug(request: Request) -> Exception:
    return KeyError(request.name)


class Fault:
    """Answers some requests with an error while it is there."""

    def __init__(self, kube: MemoryKube, answer: Answer, *requests: str) -> None:
        self.there = True
        self.met: list[float] = []
        self._answer = answer
        self._requests = requests
        kube.before = self._before

    def _before(self, request: Request) -> None:
        if self.there and str(request).startswith(self._requests):
            self.met.append(asyncio.get_running_loop().time())
            raise self._answer(request)


def _ready(kube: MemoryKube) -> tuple[str | None, str | None]:
    ready = condition_of(job_of(kube), "Ready")
    return ready.get("status"), ready.get("reason")


def _events(kube: MemoryKube) -> list[str]:
    return [event["reason"] for event in kube.of_kind("Event")]


REQUESTS = [
    "create Job job-prepare",
    "create Job job-train-1",
    "list Pod kubetune.dev/finetunejob=job",
]
FAULTS: list[tuple[Answer, str]] = [
    (webhook_down, "WebhookFailed"),
    (no_right, "MissingPermission"),
    (no_answer, "RequestFailed"),
    (overloaded, "RequestFailed"),
    (not_found, "RequestFailed"),
    (bug, "InternalError"),
]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(("answer", "reason"), FAULTS, ids=[answer.__name__ for answer, _ in FAULTS])
def test_a_request_that_keeps_failing_is_told_within_a_minute_once_and_heals(
    request_: str, answer: Answer, reason: str
) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        fault = Fault(kube, answer, request_)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: fault.met)
        await asyncio.sleep(60)
        assert _ready(kube)[0] in ("Unknown", "False")
        assert _ready(kube)[1] == reason
        assert condition_of(job_of(kube), "Reconciling")["reason"] == reason
        written = len(kube.writes)
        await asyncio.sleep(3600)
        assert [write for write in kube.writes[written:] if write.startswith("patch")] == []
        assert _events(kube).count(reason) == 1
        fault.there = False
        await until(lambda: "Ready" in true_conditions(job_of(kube)), seconds=400)
        assert reason not in str(job_of(kube)["status"])
        await operator.stop()

    virtual_time.run(main())


def test_the_api_servers_words_are_told_without_what_differs_each_time() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        Fault(kube, webhook_down, "create Job job-prepare")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(60)
        assert condition_of(job_of(kube), "Reconciling")["message"] == (
            "An admission webhook does not answer: create Job team/job-prepare: 500 Internal error occurred: "
            'failed calling webhook "x.example.com": failed to call webhook: Post '
            '"https://x.example.svc:443/?timeout=10s": read tcp 10.96.0.9:443: i/o timeout. It is asked '
            "again until it does: repair the webhook, or remove its configuration."
        )
        await operator.stop()

    virtual_time.run(main())


def test_a_missing_right_is_told_at_once_with_the_account_that_lacks_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        fault = Fault(kube, no_right, "create Job job-prepare")
        operator = Operator(kube=kube)
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        kube.add(finetunejob())
        await until(lambda: _ready(kube)[1], seconds=1)
        assert condition_of(job_of(kube), "Reconciling")["message"] == (
            "KubeTune may not create Job job-prepare in namespace team: its ServiceAccount kubetune/operator "
            'lacks the right. The API server says: jobs.batch is forbidden: User "system:serviceaccount:'
            'kubetune:operator" cannot create resource "jobs" in API group "batch" in the namespace "team". '
            "Install the chart of this version again, or have an administrator give that right back; within "
            "a minute the job goes on."
        )
        await asyncio.sleep(3600)
        assert len(fault.met) < 100
        fault.there = False
        back = asyncio.get_running_loop().time()
        await until(lambda: kube.find("Job", "job-prepare"))
        assert asyncio.get_running_loop().time() - back <= 61
        await operator.stop()

    virtual_time.run(main())


def test_a_fault_of_kubetune_says_so_where_it_is_and_where_to_report_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        Fault(kube, bug, "create Job job-prepare")
        operator = Operator(kube=kube)
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        kube.add(finetunejob())
        await until(lambda: _ready(kube)[1], seconds=5)
        said = condition_of(job_of(kube), "Reconciling")["message"]
        assert said.startswith(
            "A fault of KubeTune keeps this job from going on: KeyError: 'job-prepare' (in "
        )
        assert "issue tracker" in said
        await operator.stop()

    virtual_time.run(main())


def test_what_can_be_made_beside_it_goes_on() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        fault = Fault(kube, webhook_down, "create Service job-train")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(60)
        assert "Trained" in true_conditions(job_of(kube))
        fault.there = False
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_what_passes_within_seconds_is_not_told() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        fault = Fault(kube, webhook_down, "create Job job-prepare")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(8)
        fault.there = False
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert "WebhookFailed" not in _events(kube)
        await operator.stop()

    virtual_time.run(main())


def test_what_became_of_an_attempt_is_told_although_the_next_one_cannot_be_made() -> None:
    def script(pod: Object) -> Outcome | None:
        return (1, "Traceback") if "-train-1" in pod["metadata"]["name"] else good(pod)

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=script)
        Fault(kube, webhook_down, "create Job job-train-2")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(200)
        assert _ready(kube) == ("False", "WebhookFailed")
        assert condition_of(job_of(kube), "Trained")["reason"] == "WebhookFailed"
        assert "Prepared" in true_conditions(job_of(kube))
        assert [attempt["outcome"] for attempt in job_of(kube)["status"]["attempts"]] == ["Failed"]
        await operator.stop()

    virtual_time.run(main())


def test_a_served_job_that_cannot_be_looked_at_keeps_what_is_known_of_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        fault = Fault(kube, webhook_down, "apply Deployment job")
        kube.change(job_of(kube), {"spec": {"serving": {"replicas": 2}}})
        await asyncio.sleep(60)
        assert true_conditions(job_of(kube)) == ["Reconciling", "Prepared", "Trained", "Served"]
        assert _ready(kube) == ("False", "WebhookFailed")
        fault.there = False
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("answer", [webhook_down, no_right, bug], ids=lambda answer: answer.__name__)
def test_a_status_that_cannot_be_written_is_told_in_one_event(answer: Answer) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        fault = Fault(kube, answer, "patch FineTuneJob job")
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(3600)
        reason = dict(FAULTS)[answer]
        assert _events(kube).count(reason) == 1
        assert len(fault.met) < 150
        fault.there = False
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_a_status_that_the_schema_refuses_is_told_in_a_smaller_one() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        refused = 0

        def validate(status: dict[str, Any]) -> None:
            nonlocal refused
            if "plan" in status:
                refused += 1
                request = Request("patch", "FineTuneJob", "job")
                raise _answer(request, 422, 'FineTuneJob "job" is invalid: status.plan.x: Invalid value')

        kube.validate_status = validate
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(60)
        assert _ready(kube) == ("Unknown", "RequestFailed")
        assert "status.plan.x: Invalid value" in condition_of(job_of(kube), "Reconciling")["message"]
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.slow
def test_two_hundred_jobs_that_fail_alike_are_each_told_once() -> None:
    async def main() -> None:
        kube = MemoryKube()
        fault = Fault(kube, webhook_down, "create Job")
        operator = Operator(kube=kube)
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        for number in range(200):
            kube.add(finetunejob(f"job-{number}"))
        await asyncio.sleep(60)
        told = {condition_of(raw, "Ready").get("reason") for raw in kube.of_kind("FineTuneJob")}
        assert told == {"WebhookFailed"}
        await asyncio.sleep(300)
        written = [write for write in kube.writes if write.startswith("patch")]
        assert len(written) == 200
        assert fault.met
        await operator.stop()

    virtual_time.run(main())


class _Faulty(Stage):
    """A stage whose status cannot be computed."""

    name = "faulty"
    condition = "Faulty"

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return False

    @override
    def status(self, *_: object) -> dict[str, Any]:
        raise ValueError("no status " + "x" * 5000)


def test_a_status_that_cannot_be_computed_is_told_in_what_is_left_of_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube, stages=(*STAGES, _Faulty()))
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(60)
        assert _ready(kube) == ("Unknown", "InternalError")
        said = condition_of(job_of(kube), "Reconciling")["message"]
        assert "ValueError: no status" in said
        assert len(said) < 800
        assert kube.find("Job", "job-train-1")
        await operator.stop()

    virtual_time.run(main())
