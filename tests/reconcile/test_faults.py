"""What must not happen, whatever happens: crashes, ghosts, refusals, strangers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubetune.controller.earlier import SETTLED_AFTER
from kubetune.vocabulary.errors import Rejected, TransientError
from tests.support import virtual_time
from tests.support.harness import (
    Controllers,
    Operator,
    Outcome,
    finetunejob,
    good,
    key,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object, Request
from tests.support.told import job_of


def _ready(kube: MemoryKube) -> Callable[[], bool]:
    return lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job"))


def _outline(kube: MemoryKube) -> dict[str, Any]:
    """What must be equal at the end: which objects exist, and what the status says but for times and uids."""
    status = copy.deepcopy(job_of(kube)["status"])
    status.pop("progress", None)
    claim = kube.find("PersistentVolumeClaim", "job-output")
    assert status["output"].pop("claimUID") == (claim or {})["metadata"]["uid"]
    for entry in (*status["conditions"], *status["attempts"]):
        for stamp in ("lastTransitionTime", "startTime", "completionTime"):
            entry.pop(stamp, None)
    objects = sorted(f"{kind} {name}" for kind, _, name in kube.objects if kind not in ("Event", "Pod"))
    return {"status": status, "objects": objects}


class Crash(BaseException):
    """The process is gone."""


async def _reference(*, serving: bool) -> tuple[dict[str, Any], int]:
    kube = MemoryKube()
    Controllers(kube=kube)
    operator = Operator(kube=kube)
    await operator.start()
    kube.add(finetunejob(serving=serving))
    await until(_ready(kube))
    await operator.stop()
    return _outline(kube), len(kube.writes)


@pytest.mark.parametrize("answered", [True, False], ids=["after the write", "before the write"])
@pytest.mark.parametrize("serving", [True, False], ids=["served", "not served"])
def test_a_crash_at_any_write_changes_nothing_in_the_end(serving: bool, answered: bool) -> None:
    outline, writes = virtual_time.run(_reference(serving=serving))
    assert writes >= 8

    async def crash_at(number: int) -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        crashed = asyncio.Event()
        count = 0

        def maybe_crash(request: Request) -> None:
            nonlocal count
            count += request.is_write
            if request.is_write and count == number:
                crashed.set()
            if crashed.is_set():
                raise TransientError("the process is about to end")

        if answered:
            kube.after = maybe_crash
        else:
            kube.before = maybe_crash
        await operator.start()
        kube.add(finetunejob(serving=serving))
        await crashed.wait()
        await operator.stop()
        kube.after = kube.before = lambda _request: None
        Controllers(kube=kube, pod_after=0.2)  # timers of the first ended with its operator
        kube.watchers.pop(0)
        _resume(kube)
        await asyncio.sleep(3)
        restarted = Operator(kube=kube)
        await restarted.start()
        await until(_ready(kube))
        assert _outline(kube) == outline
        for kind in ("create Job job-train-1", "create Job job-prepare"):
            assert kube.writes.count(kind) <= 2 - answered
        await restarted.stop()

    for number in range(1, writes + 1):
        virtual_time.run(crash_at(number))


def _resume(kube: MemoryKube) -> None:
    """Controllers that start anew see everything that exists."""
    for raw in list(kube.objects.values()):
        if raw["kind"] in ("Job", "Deployment"):
            for watcher in kube.watchers:
                watcher(raw["kind"], "ADDED", raw)


def test_a_restart_with_finished_jobs_writes_and_reads_nothing() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        for number in range(20):
            kube.add(finetunejob(f"job-{number}"))
        await until(lambda: all("Ready" in true_conditions(o) for o in kube.of_kind("FineTuneJob")))
        await operator.stop()
        kube.requests.clear()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(600)
        assert kube.writes == []
        assert {(r.verb, r.name) for r in kube.requests} == {("list", "*")}
        await again.stop()

    virtual_time.run(main())


def test_a_restart_with_a_served_job_writes_nothing_and_asks_nobody() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(_ready(kube))
        await operator.stop()
        kube.requests.clear()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(600)
        assert kube.writes == []
        assert again.web.asked == 0
        await again.stop()

    virtual_time.run(main())


def test_an_unrelated_change_of_a_finished_job_writes_nothing() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(_ready(kube))
        kube.requests.clear()
        kube.change(job_of(kube), {"metadata": {"annotations": {"touched": "yes"}}})
        await asyncio.sleep(60)
        assert kube.writes == []
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("lost", ["Job job-train-1", "Job job-prepare"])
def test_the_same_generation_never_trains_twice(lost: str) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(_ready(kube))
        kind, name = lost.split()
        found = kube.find(kind, name)
        assert found
        kube.requests.clear()
        kube.remove(found)
        await asyncio.sleep(600)
        assert kube.writes == []
        assert _ready(kube)()
        await operator.stop()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(600)
        assert kube.writes == []
        await again.stop()

    virtual_time.run(main())


def test_a_volume_that_is_lost_between_two_attempts_is_prepared_again() -> None:
    async def main() -> None:
        kube = MemoryKube()
        crashed = False

        def script(pod: Object) -> Outcome | None:
            nonlocal crashed
            if "-train-1" in pod["metadata"]["name"]:
                crashed = True
                return 1, ""
            return good(pod)

        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: crashed)
        claim = kube.find("PersistentVolumeClaim", "job-output")
        assert claim
        kube.remove(claim)
        await until(_ready(kube))
        made = [write for write in kube.writes if write.startswith("create Job")]
        assert made == [
            "create Job job-prepare",
            "create Job job-train-1",
            "create Job job-prepare-2",
            "create Job job-train-2",
        ]
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.02, 0.1, 1, 10, 22, 25, 45])
def test_nothing_is_made_for_a_job_that_was_deleted(seconds: float) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        kube.add(finetunejob(serving=True))
        await asyncio.sleep(seconds)
        kube.remove(job_of(kube))
        await asyncio.sleep(1)
        kube.requests.clear()
        await asyncio.sleep(600)
        assert kube.writes == []
        left = [place for place in kube.objects if place[0] != "Event"]
        assert left in ([], [("PersistentVolumeClaim", "team", "job-output")])
        await operator.stop()

    virtual_time.run(main())


def test_a_ghost_makes_nothing_and_is_gone_within_the_relist_period() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(1)
        # Deletion of the FineTuneJob is not seen, deletions of its children are: the worst there is.
        operator.deaf = True
        kube.remove(job_of(kube))
        await asyncio.sleep(0.1)
        operator.deaf = False
        kube.requests.clear()
        await asyncio.sleep(75)
        # A status write meets a 404; nothing is created.
        assert set(kube.writes) <= {"patch FineTuneJob job"}
        assert len(kube.writes) <= 1
        assert operator.index.parent(key()) is None
        await operator.stop()

    virtual_time.run(main())


def test_a_watch_that_hears_nothing_is_corrected_by_the_relist() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(5)  # its first progress is written
        operator.deaf = True
        kube.remove(job_of(kube))
        kube.requests.clear()
        await asyncio.sleep(130)
        assert kube.writes == []
        assert operator.index.parent(key()) is None
        assert [child.name for child in operator.index.children(key())] == ["job-output"]
        await operator.stop()

    virtual_time.run(main())


def test_a_child_that_keeps_vanishing_is_made_again_ever_more_slowly() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())

        def remove_jobs() -> None:
            for job in list(kube.of_kind("Job")):
                kube.remove(job)

        def vandal(request: Request) -> None:
            if request.verb == "create" and request.kind == "Job":
                asyncio.get_running_loop().call_later(0.05, remove_jobs)

        kube.after = vandal
        await asyncio.sleep(600)
        made = [write for write in kube.writes if write.startswith("create Job")]
        assert 3 <= len(made) <= 15
        await operator.stop()

    virtual_time.run(main())


def test_training_that_somebody_keeps_deleting_is_tried_ever_more_slowly_and_never_for_a_ghost() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())

        def remove_training() -> None:
            for job in list(kube.of_kind("Job")):
                if "-train-" in job["metadata"]["name"]:
                    kube.remove(job)

        def vandal(request: Request) -> None:
            if request.verb == "create" and request.kind == "Job" and "-train-" in request.name:
                asyncio.get_running_loop().call_later(0.05, remove_training)

        kube.after = vandal
        await asyncio.sleep(600)
        made = [write for write in kube.writes if write.startswith("create Job job-train-")]
        assert 3 <= len(made) <= 15
        assert len(kube.requests) < 300

        operator.deaf = True  # it does not hear that the job is deleted
        kube.remove(job_of(kube))
        before = len(kube.writes)
        await asyncio.sleep(1200)
        assert kube.writes[before:] == []
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("verb", ["create", "patch", "get", "list"])
def test_an_api_server_that_is_away_for_a_while_delays_only(verb: str) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)

        def away(request: Request) -> None:
            if request.verb == verb and 0.01 < asyncio.get_running_loop().time() < 90:
                raise TransientError("503", retry_after=1)

        kube.before = away
        await operator.start()
        kube.add(finetunejob())
        await until(_ready(kube))
        assert len(kube.requests) < 150
        await operator.stop()

    virtual_time.run(main())


def test_a_quota_is_reported_and_waited_for() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)

        def quota(request: Request) -> None:
            early = asyncio.get_running_loop().time() < 100
            if early and request.kind == "PersistentVolumeClaim" and request.verb == "create":
                raise Rejected(
                    "exceeded quota: small",
                    verb="create",
                    kind=request.kind,
                    namespace="team",
                    name=request.name,
                    status=403,
                )

        kube.before = quota
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(10)
        said = [c for c in job_of(kube)["status"]["conditions"] if "exceeded quota" in c["message"]]
        assert {c["reason"] for c in said} == {"QuotaExceeded"}
        await until(_ready(kube))
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("version", "kind", "name"),
    [
        ("v1", "Service", "job-train"),
        ("v1", "Service", "job"),
        ("apps/v1", "Deployment", "job"),
        ("batch/v1", "Job", "job-prepare"),
    ],
)
def test_a_foreign_object_is_reported_never_touched_and_its_removal_heals(
    version: str, kind: str, name: str
) -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = Operator(kube=kube)
        await operator.start()
        foreign = kube.add(
            {
                "apiVersion": version,
                "kind": kind,
                "metadata": {"namespace": "team", "name": name, "labels": {"app": "somebody-else"}},
                "spec": {"replicas": 1},
            }
        )
        Controllers(kube=kube)
        kube.add(finetunejob(serving=True))
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        assert any(c["reason"] == "NameConflict" for c in job_of(kube)["status"]["conditions"])
        assert kube.find("Job", "job-train-1") is None
        requests = len(kube.requests)
        await asyncio.sleep(120)
        later = [str(r) for r in kube.requests[requests:] if r.is_write]
        assert later in ([], ["patch FineTuneJob job"])  # prepare, which was made beside it, ends
        assert kube.find(kind, name) == foreign
        kube.remove(foreign)
        await until(_ready(kube))
        await operator.stop()

    virtual_time.run(main())


def test_an_object_that_takes_the_servers_name_during_training_is_never_touched() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: kube.find("Job", "job-train-1"))
        meta = {"namespace": "team", "name": "job", "labels": {"app": "somebody-else"}}
        foreign = kube.add(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1}}
        )
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        assert any(c["reason"] == "NameConflict" for c in job_of(kube)["status"]["conditions"])
        live = kube.find("Deployment", "job")
        assert live
        assert live["spec"] == foreign["spec"]
        kube.remove(live)
        await until(_ready(kube))
        await operator.stop()

    virtual_time.run(main())


def test_a_job_applied_again_waits_until_the_pods_of_the_earlier_one_are_gone() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(2)
        kube.collect_after = 15.0
        kube.remove(job_of(kube))
        kube.add(finetunejob())
        kube.requests.clear()
        await until(lambda: any(w == "create Job job-prepare" for w in kube.writes))
        pods = [pod for pod in kube.of_kind("Pod") if pod["status"]["phase"] == "Running"]
        assert pods == []
        await until(_ready(kube))
        assert "NameConflict" not in str(job_of(kube)["status"])
        await operator.stop()

    virtual_time.run(main())


def test_a_spec_that_cannot_be_parsed_stalls_with_one_write() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = Operator(kube=kube)
        await operator.start()
        raw = finetunejob()
        raw["spec"]["training"]["gpusPerNode"] = -1
        kube.add(raw)
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        assert kube.writes == ["patch FineTuneJob job"]
        assert all(c["reason"] == "InvalidSpec" for c in job_of(kube)["status"]["conditions"])
        await operator.stop()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(100)
        assert kube.writes == ["patch FineTuneJob job"]
        await again.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("restarts", [1, 2])
def test_pods_of_an_attempt_that_was_deleted_in_the_operators_absence_are_waited_for(restarts: int) -> None:
    def script(pod: Object) -> Outcome | None:
        return None if pod["metadata"]["name"].startswith("job-train-1") else good(pod)

    async def main() -> None:
        kube = MemoryKube(collect_after=1e6)
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(5)
        assert [a["outcome"] for a in job_of(kube)["status"]["attempts"]] == ["Running"]
        job = kube.find("Job", "job-train-1")
        assert job
        for _ in range(restarts):
            await operator.stop()
            kube.remove(job)
            operator = Operator(kube=kube)
            await operator.start()
            await asyncio.sleep(60)
        assert kube.find("Job", "job-train-2") is None
        pod = next(pod for pod in kube.of_kind("Pod") if pod["metadata"]["name"].startswith("job-train-1"))
        assert f"Pod {pod['metadata']['name']} is left" in str(job_of(kube)["status"]["conditions"])
        kube.remove(pod)
        await until(_ready(kube))
        assert kube.writes.count("create Job job-train-2") == 1
        await operator.stop()

    virtual_time.run(main())
