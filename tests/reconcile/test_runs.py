"""Runs that are suspended, gangs that are never complete, budgets that outlive Jobs, clocks that differ."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kubetune_trainer.contract.messages import Reason
from tests.support import messages, virtual_time
from tests.support.harness import Controllers, Operator, Outcome, finetunejob, good, true_conditions, until
from tests.support.memory_kube import MemoryKube, Object

STAMP = "%Y-%m-%dT%H:%M:%SZ"


def _status(kube: MemoryKube, name: str = "job") -> dict[str, Any]:
    found: dict[str, Any] = (kube.find("FineTuneJob", name) or {}).get("status", {})
    return found


def _condition(kube: MemoryKube, type_: str, name: str = "job") -> dict[str, Any]:
    conditions = _status(kube, name).get("conditions", ())
    return next((c for c in conditions if c["type"] == type_), {})


def _jobs_made(kube: MemoryKube) -> list[str]:
    return [write.removeprefix("create Job ") for write in kube.writes if write.startswith("create Job ")]


def _ready(kube: MemoryKube, name: str = "job") -> bool:
    return "Ready" in true_conditions(kube.find("FineTuneJob", name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["job-prepare", "job-train-1"])
@pytest.mark.parametrize("restarted", [False, True], ids=["seen", "while no operator ran"])
def test_a_suspended_job_is_waited_for_and_never_doubled(name: str, restarted: bool) -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube, runs_for=30)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2))
        await until(lambda: (kube.find("Job", name) or {}).get("status", {}).get("ready"))
        if restarted:
            operator.deaf = True
        controllers.suspend(name)
        await asyncio.sleep(5)
        if restarted:
            operator.deaf = False
            another = Operator(kube=kube)
            kube.watchers.remove(operator._event)
            await another.start()
        await asyncio.sleep(3600)
        assert _jobs_made(kube)[-1] == name
        waiting = _condition(kube, "Reconciling")
        assert waiting["reason"] == "Suspended"
        assert waiting["message"].startswith(f"Job {name} is suspended, by a queue such as Kueue or by hand")
        assert [a["outcome"] for a in _status(kube).get("attempts", ())] in ([], ["Running"])
        controllers.resume(name)
        await until(lambda: _ready(kube))
        assert _jobs_made(kube) == ["job-prepare", "job-train-1"]
        assert "retries" not in _status(kube)

    virtual_time.run(main())


def test_a_failure_after_a_suspension_is_judged_by_the_pods_that_failed() -> None:
    async def main() -> None:
        kube = MemoryKube()
        failing = True

        def script(pod: Object) -> Outcome | None:
            return (1, "") if failing and "-train-1" in pod["metadata"]["name"] else good(pod)

        controllers = Controllers(kube=kube, runs_for=30, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: (kube.find("Job", "job-train-1") or {}).get("status", {}).get("ready"))
        controllers.suspend("job-train-1")
        await asyncio.sleep(60)
        controllers.resume("job-train-1")
        await until(lambda: kube.find("Job", "job-train-2"))
        await asyncio.sleep(5)
        assert [a["outcome"] for a in _status(kube)["attempts"]] == ["Failed", "Running"]
        assert _status(kube)["retries"] == [
            {"stage": "train", "number": 1, "failures": 1, "interruptions": 0}
        ]
        await operator.stop()

    virtual_time.run(main())


def _place(kube: MemoryKube, *, slots: int) -> None:
    """A scheduler for so many training pods at a time: they get nodes in the order in which they came."""

    def schedule() -> None:
        pods = [p for p in kube.of_kind("Pod") if "-train-" in p["metadata"]["name"]]
        alive = [p for p in pods if p["status"]["phase"] not in ("Succeeded", "Failed")]
        free = slots - sum("nodeName" in p["spec"] for p in alive)
        for pod in alive:
            if "nodeName" not in pod["spec"] and free > 0:
                free -= 1
                kube.change(pod, {"spec": {"nodeName": "node"}})
            elif "nodeName" not in pod["spec"]:
                unschedulable = {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
                }
                kube.change(pod, {"status": {"conditions": [unschedulable]}})
        asyncio.get_running_loop().call_later(1.0, schedule)

    schedule()


def test_two_gangs_that_fit_alone_but_not_together_both_finish() -> None:
    async def main() -> None:
        kube = MemoryKube()
        _place(kube, slots=3)
        Controllers(kube=kube, runs_for=60, needs_nodes=True)
        operator = Operator(kube=kube)
        await operator.start()
        for name in ("one", "two"):
            kube.add(finetunejob(name, nodes=2, retries={"max": 0}))
        # Three places for two gangs of two: pods of both hold some, as a scheduler without gangs leaves it.
        await until(lambda: kube.find("Job", "two-train-1"))
        await until(lambda: _ready(kube, "one") and _ready(kube, "two"), seconds=7200)
        assert "Stalled" not in {*true_conditions(kube.find("FineTuneJob", "one"))}
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.slow
def test_a_gang_that_is_never_complete_gives_its_nodes_back_and_costs_no_retry() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, needs_nodes=True)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2, retries={"max": 0}))
        await until(lambda: kube.find("Job", "job-train-1"))
        _place(kube, slots=1)
        await asyncio.sleep(120)
        waiting = _condition(kube, "Reconciling")
        assert waiting["reason"] == "Unschedulable"
        assert "Its other pods hold their nodes, and give them back if this lasts." in waiting["message"]
        await until(lambda: kube.find("Job", "job-train-1") is None, seconds=900)
        await asyncio.sleep(2)
        assert [(a["outcome"], a["reason"]) for a in _status(kube)["attempts"]] == [
            ("Preempted", "GangIncomplete")
        ]
        await until(lambda: len(_jobs_made(kube)) >= 4, seconds=3600)
        assert _status(kube)["retries"][0]["failures"] == 0
        _place(kube, slots=2)
        await until(lambda: _ready(kube), seconds=7200)
        await operator.stop()

    virtual_time.run(main())


def test_peers_that_never_met_cost_no_retry() -> None:
    async def main() -> None:
        kube = MemoryKube()
        tried = 0

        def script(pod: Object) -> Outcome | None:
            nonlocal tried
            if "-train-1-0" in pod["metadata"]["name"]:
                tried += 1
                return 46, messages.failed(Reason.PEER_LOST, "Rank 0 waited 1800 s for its peers.")
            return good(pod)

        controllers = Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2, retries={"max": 0}))
        await until(lambda: kube.find("Job", "job-train-1"))
        controllers.only_first = "job-train-1"
        await until(lambda: tried)
        await until(lambda: kube.find("Job", "job-train-2"), seconds=3600)
        assert _status(kube)["attempts"][0]["reason"] == "GangIncomplete"
        await until(lambda: _ready(kube), seconds=3600)
        await operator.stop()

    virtual_time.run(main())


def test_the_last_attempt_is_told_in_a_final_status() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=_crashes, stops_after=25)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2, retries={"max": 0}))
        await until(lambda: "Stalled" in true_conditions(kube.find("FineTuneJob", "job")), seconds=3600)
        assert _condition(kube, "Stalled")["reason"] == "RetriesExhausted"
        await asyncio.sleep(600)
        assert [a["outcome"] for a in _status(kube)["attempts"]] == ["Failed"]
        await operator.stop()

    virtual_time.run(main())


def _crashes(pod: Object) -> Outcome | None:
    if "-train-" in pod["metadata"]["name"]:
        return (1, "") if "-0-uid" in pod["metadata"]["name"] else None
    return good(pod)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prepare", "train"])
def test_the_budget_is_kept_when_finished_jobs_are_tidied_up(stage: str) -> None:
    most = 30

    async def main() -> None:
        kube = MemoryKube()
        Controllers(
            kube=kube, script=lambda pod: (1, "") if f"-{stage}" in pod["metadata"]["name"] else good(pod)
        )
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(retries={"max": most}))

        def tidy() -> None:
            for job in list(kube.of_kind("Job")):
                if job["status"].get("conditions") and f"-{stage}" in job["metadata"]["name"]:
                    kube.remove(job)
            asyncio.get_running_loop().call_later(20.0, tidy)

        tidy()
        await until(lambda: "Stalled" in true_conditions(kube.find("FineTuneJob", "job")), seconds=50_000)
        stalled = _condition(kube, "Stalled")
        assert stalled["reason"] == "RetriesExhausted"
        made = [name for name in _jobs_made(kube) if f"-{stage}" in name]
        assert len(made) == len(set(made)) == most + 1
        assert _status(kube)["retries"][0]["failures"] == most + 1
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("skew", [-300, 300])
def test_a_node_whose_clock_is_wrong_changes_nothing(skew: int) -> None:
    """A lost message brings prepare back once; a failed attempt waits for its pause, and no longer."""

    async def main() -> None:
        kube = MemoryKube()
        lost = True

        def script(pod: Object) -> Outcome | None:
            nonlocal lost
            if "-train-1" in pod["metadata"]["name"]:
                return 1, ""
            if "-train-2" in pod["metadata"]["name"] and lost:
                return 0, ""
            return good(pod)

        Controllers(kube=kube, script=script, skew=timedelta(seconds=skew))
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-2"), seconds=120)
        lost = False
        await until(lambda: _ready(kube), seconds=1000)
        assert _jobs_made(kube)[:3] == ["job-prepare", "job-train-1", "job-train-2"]
        assert _jobs_made(kube).count("job-prepare-2") <= 1
        assert "job-prepare-3" not in _jobs_made(kube)
        await operator.stop()

    virtual_time.run(main())
