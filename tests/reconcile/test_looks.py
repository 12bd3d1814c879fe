"""Looking at what waits: found within seconds, gone when it heals, and never a load on the API server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kubetune.api.v1alpha1 import validate_spec
from kubetune.controller.earlier import SETTLED_AFTER
from kubetune.controller.job_state import JobState
from kubetune.controller.waiting import Looker
from kubetune.pods_http.probes import Probes
from tests.support import virtual_time
from tests.support.harness import (
    Controllers,
    FakeWeb,
    Operator,
    Outcome,
    finetunejob,
    good,
    key,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object


def _unschedulable(kube: MemoryKube, pod: Object) -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    kube.change(pod, {"status": {"conditions": [condition]}})


def _condition(kube: MemoryKube, type_: str) -> dict[str, Any]:
    raw = kube.find("FineTuneJob", "job")
    assert raw
    return next((c for c in raw["status"]["conditions"] if c["type"] == type_), {})


def test_why_a_pod_waits_is_said_within_seconds_and_forgotten_when_it_runs() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, ready_after=300)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: list(kube.of_kind("Pod")))
        _unschedulable(kube, next(kube.of_kind("Pod")))
        await asyncio.sleep(15)
        assert _condition(kube, "Prepared")["reason"] == "Unschedulable"
        assert "Insufficient nvidia.com/gpu" in _condition(kube, "Reconciling")["message"]
        writes = len(kube.writes)
        await asyncio.sleep(200)
        assert len(kube.writes) == writes
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.slow
def test_a_full_cluster_makes_no_storm_of_looks() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, ready_after=1e6)
        operator = Operator(kube=kube)
        await operator.start()
        for number in range(60):
            kube.add(finetunejob(f"job-{number}"))
        await asyncio.sleep(120)
        looks = [r for r in kube.requests if r.verb == "list" and r.kind == "Pod" and "stage" in r.name]
        assert 60 <= len(looks) <= 2 * 120 + 20
        await operator.stop()

    virtual_time.run(main())


def test_nothing_is_looked_at_while_all_is_well_or_finished() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, runs_for=300)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        await asyncio.sleep(600)
        assert not [r for r in kube.requests if r.verb == "list" and "stage" in r.name]
        await operator.stop()

    virtual_time.run(main())


def _event(kube: MemoryKube, kind: str, name: str, uid: str, reason: str, message: str) -> None:
    about = {"kind": kind, "name": name, "uid": uid}
    meta = {"namespace": "team", "name": f"{reason}-{uid}"}
    kube.add(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": meta,
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }
    )


LABELS = {"kubetune.dev/finetunejob": "job", "kubetune.dev/stage": "serve", "kubetune.dev/role": "serving"}
NOT_SHARED = "failed to provision volume: NodePath only supports ReadWriteOnce access modes"
QUOTA = 'Error creating: pods "job-prepare-" is forbidden: exceeded quota: gpus'


def test_events_of_earlier_objects_of_the_same_names_explain_nothing() -> None:
    async def main() -> None:
        kube = MemoryKube()
        _event(
            kube,
            "PersistentVolumeClaim",
            "job-output",
            "a-claim-that-is-gone",
            "ProvisioningFailed",
            NOT_SHARED,
        )
        _event(kube, "Job", "job-prepare", "a-job-that-is-gone", "FailedCreate", QUOTA)
        Controllers(kube=kube, pod_after=40, ready_after=40)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2))
        reasons = set()
        for _ in range(100):
            await asyncio.sleep(1)
            reasons.add(_condition(kube, "Prepared")["reason"])
        assert reasons == {"Preparing"}
        await operator.stop()

    virtual_time.run(main())


def test_events_of_the_present_claim_and_job_explain_why_they_wait() -> None:
    async def main(kind: str, name: str, reason: str, message: str) -> str:
        kube = MemoryKube()
        Controllers(kube=kube, pod_after=1e6)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2))
        await until(
            lambda: kube.find("Job", "job-prepare") and kube.find("PersistentVolumeClaim", "job-output")
        )
        about, job = kube.find(kind, name), kube.find("Job", "job-prepare")
        assert about
        assert job
        kube.change(job, {"status": {"startTime": "2026-01-01T00:00:01Z"}})
        _event(kube, kind, name, about["metadata"]["uid"], reason, message)
        await asyncio.sleep(15)
        await operator.stop()
        return str(_condition(kube, "Prepared")["reason"])

    claim = main("PersistentVolumeClaim", "job-output", "ProvisioningFailed", NOT_SHARED)
    assert virtual_time.run(claim) == "StorageNotShared"
    assert virtual_time.run(main("Job", "job-prepare", "FailedCreate", QUOTA)) == "QuotaExceeded"


def test_what_a_deployment_cannot_make_is_read_from_its_conditions() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(5)
        controllers.ready_after = 1e6
        await until(lambda: kube.find("Deployment", "job"))
        deployment = kube.find("Deployment", "job")
        assert deployment
        message = 'pods "job-5dbd58f668-" is forbidden: error looking up service account team/nlp: not found'
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        kube.change(deployment, {"status": {"observedGeneration": 1, "conditions": [condition]}})
        await asyncio.sleep(15)
        assert _condition(kube, "Served")["reason"] == "PodRejected"
        assert "service account team/nlp" in _condition(kube, "Reconciling")["message"]
        assert {r.name for r in kube.requests if r.verb == "list" and r.kind == "Event"} <= {"job-output"}
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("minutes", [-5, 0, 5], ids=["behind", "in step", "ahead"])
def test_a_pod_that_its_lost_node_never_ends_is_named_whatever_other_clocks_say(minutes: int) -> None:
    def script(pod: Object) -> Outcome | None:
        return good(pod) if pod["metadata"]["labels"]["kubetune.dev/stage"] == "prepare" else None

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=2))
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(30)
        job = kube.find("Job", "job-train-1")
        assert job
        verdict = "Pod team/job-train-1-0 has condition DisruptionTarget matching FailJob rule at index 1"
        failing = {
            "type": "FailureTarget",
            "status": "True",
            "reason": "PodFailurePolicy",
            "message": verdict,
        }
        for pod in [o for o in kube.of_kind("Pod") if o["metadata"]["name"].startswith("job-train-1")]:
            due = virtual_time.now() + timedelta(minutes=minutes)
            gone = {"deletionTimestamp": due.strftime("%Y-%m-%dT%H:%M:%SZ")}
            kube.change(pod, {"metadata": gone, "spec": {"nodeName": "gpu-7"}})
        kube.change(job, {"status": {"conditions": [failing], "ready": 0, "active": 0, "terminating": 2}})
        await asyncio.sleep(20)
        assert _condition(kube, "Trained")["reason"] == "Preempted"
        await asyncio.sleep(40)
        assert _condition(kube, "Reconciling")["reason"] == "NodeLost"
        assert "node gpu-7 does not confirm" in _condition(kube, "Reconciling")["message"]
        await operator.stop()

    virtual_time.run(main())


def test_a_claim_that_cannot_be_shared_is_found_before_the_first_job() -> None:
    async def main() -> None:
        kube = MemoryKube()
        job = validate_spec(kube.add(finetunejob(nodes=2)))
        looker, state = Looker(kube, Probes(web=FakeWeb(), wake=lambda _: None)), JobState(uid="uid-1")
        assert await looker.unfit_claim(job, (), state) is None
        meta = {"namespace": "team", "name": "job-output"}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}
        kube.add({**claim, "spec": {"accessModes": ["ReadWriteOnce"]}})
        found = await looker.unfit_claim(job, (), state)
        assert found is not None
        assert (found.reason, found.stalled, found.stage) == ("StorageNotShared", True, "prepare")

    virtual_time.run(main())


def test_a_claim_that_an_earlier_job_left_and_that_is_too_small_is_told_before_any_pod() -> None:
    async def main(heal: str) -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        first = kube.add(finetunejob())
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        kube.remove(first)
        await asyncio.sleep(10)
        again = finetunejob()
        again["spec"]["storage"] = {"size": "200Gi"}
        kube.add(again)
        await asyncio.sleep(20)
        stalled = _condition(kube, "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "ClaimDiffers")
        assert stalled["message"].startswith(
            "PersistentVolumeClaim job-output of an earlier job has 20Gi, and storage.size is 200Gi. "
        )
        assert not kube.find("Job", "job-prepare")
        claim = kube.find("PersistentVolumeClaim", "job-output")
        assert claim
        if heal == "enlarge":
            kube.change(claim, {"spec": {"resources": {"requests": {"storage": "200Gi"}}}})
        else:
            kube.remove(claim)
        await until(lambda: kube.find("Job", "job-prepare"), seconds=100)
        claim = kube.find("PersistentVolumeClaim", "job-output")
        assert claim
        assert claim["spec"]["resources"]["requests"]["storage"] == "200Gi"
        await operator.stop()

    for heal in ("enlarge", "delete"):
        virtual_time.run(main(heal))


def test_only_a_claim_of_an_earlier_job_is_read_before_the_first_job() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        for reads in (0, 1):
            job = kube.add(finetunejob())
            kube.requests.clear()
            await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
            read = [r for r in kube.requests if r.verb == "get" and r.kind == "PersistentVolumeClaim"]
            assert len(read) == reads
            kube.remove(job)
            await asyncio.sleep(10)
        await operator.stop()

    virtual_time.run(main())


ELSEWHERE = "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity."
ATTACHED = 'Multi-Attach error for volume "pvc-7d4b" Volume is already used by pod(s) job-0'


@pytest.mark.parametrize("waits", ["for a node", "for the volume", "for another volume", "not"])
def test_that_replicas_share_a_claim_is_told_only_when_one_cannot_have_it(waits: str) -> None:
    async def main() -> dict[str, Any]:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        claim = kube.find("PersistentVolumeClaim", "job-output")
        assert claim
        kube.change(claim, {"spec": {"volumeName": "pvc-7d4b"}, "status": {"phase": "Bound"}})
        controllers.ready_after = 1e6
        job = kube.find("FineTuneJob", "job")
        assert job
        kube.change(job, {"spec": {"serving": {"replicas": 2}}})
        await until(lambda: (kube.find("Deployment", "job") or {})["spec"]["replicas"] == 2)
        owner = {"uid": (kube.find("Deployment", "job") or {})["metadata"]["uid"]}
        meta = {"namespace": "team", "name": "job-1", "labels": LABELS, "ownerReferences": [owner]}
        container = {"name": "server", "state": {"waiting": {"reason": "ContainerCreating"}}}
        pod = kube.add(
            {
                "kind": "Pod",
                "metadata": meta,
                "spec": {"containers": [{"name": "server"}]},
                "status": {"phase": "Pending", "containerStatuses": [container]},
            }
        )
        if waits == "for a node":
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            kube.change(pod, {"status": {"conditions": [condition | {"message": ELSEWHERE}]}})
        elif waits != "not":
            text = ATTACHED if waits == "for the volume" else ATTACHED.replace("7d4b", "9a1c")
            _event(kube, "Pod", "job-1", pod["metadata"]["uid"], "FailedAttachVolume", text)
        await asyncio.sleep(60)
        await operator.stop()
        return _condition(kube, "Reconciling") or _condition(kube, "Stalled")

    waiting = virtual_time.run(main())
    assert (waiting["reason"] == "StorageNotShared") == (waits in ("for a node", "for the volume"))


def test_a_claim_with_a_finished_model_is_never_to_be_deleted_for_more_replicas() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")), seconds=2000)
        for done in list(kube.of_kind("Job")):  # somebody tidies up
            kube.remove(done)
        await asyncio.sleep(20)
        known = kube.find("FineTuneJob", "job")
        assert known
        kube.change(known, {"spec": {"serving": {"replicas": 2}}})
        await asyncio.sleep(60)
        assert "Ready" in true_conditions(kube.find("FineTuneJob", "job"))
        assert (kube.find("Deployment", "job") or {})["spec"]["replicas"] == 2
        await operator.stop()

    virtual_time.run(main())


def test_a_job_that_nothing_takes_up_or_that_is_suspended_is_named() -> None:
    async def main(spec: dict[str, Any]) -> dict[str, Any]:
        kube = MemoryKube()
        Controllers(kube=kube, pod_after=1e6)
        operator = Operator(kube=kube)
        await operator.start()
        await asyncio.sleep(SETTLED_AFTER)
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-prepare"))
        job = kube.find("Job", "job-prepare")
        assert job
        kube.change(job, {"spec": spec})
        operator.queue.add(key())
        await asyncio.sleep(100)
        await operator.stop()
        return _condition(kube, "Reconciling")

    idle = virtual_time.run(main({}))
    assert idle["reason"] == "Unschedulable"
    assert "has taken up Job job-prepare since 2026-01-01T00:00:05Z" in idle["message"]
    held = virtual_time.run(main({"suspend": True}))
    assert held["reason"] == "Suspended"
    assert "Job job-prepare is suspended" in held["message"]
