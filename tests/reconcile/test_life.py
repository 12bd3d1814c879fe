"""A job's whole life on an API server in memory, in virtual time."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from kubetune.cluster.debounce import LINGER
from kubetune_trainer.contract.messages import ExitCode, Reason
from tests.support import messages, virtual_time
from tests.support.harness import (
    Controllers,
    Operator,
    Outcome,
    finetunejob,
    good,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object


def test_a_job_is_prepared_and_trained_with_few_writes() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(
            lambda: true_conditions(kube.find("FineTuneJob", "job")) == ["Ready", "Prepared", "Trained"]
        )
        await asyncio.sleep(300)
        counted = Counter(re.sub("-[0-9a-f]{16}$", "", request) for request in kube.writes)
        assert {k: v for k, v in counted.items() if not k.startswith("patch")} == {
            "create ConfigMap job-config": 1,
            "create Service job-train": 1,
            "create PersistentVolumeClaim job-output": 1,
            "create Job job-prepare": 1,
            "create Job job-train-1": 1,
            "create NetworkPolicy job-network-pods": 1,
        }
        assert counted["patch FineTuneJob job"] <= 5
        assert set(operator.results) == {"ok"}
        await operator.stop()

    virtual_time.run(main())


def test_the_training_job_is_posted_before_the_status_is_written_and_in_one_reconcile() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-prepare"))
        await asyncio.sleep(5)
        before, looks = len(kube.requests), len(operator.results)
        await until(lambda: kube.find("Job", "job-train-1"))
        await asyncio.sleep(0.05)
        assert [str(r) for r in kube.requests[before:] if r.kind != "Event"][:2] == [
            "create Job job-train-1",
            "patch FineTuneJob job",
        ]
        assert len(operator.results) - looks <= 3
        await operator.stop()

    virtual_time.run(main())


def test_pods_of_a_gang_are_one_look_and_the_last_one_is_not_kept_waiting() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(
            kube=kube, script=lambda pod: None if "train" in pod["metadata"]["name"] else good(pod)
        )
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(nodes=4))

        def gang() -> list[Object]:
            return [pod for pod in kube.of_kind("Pod") if "train" in pod["metadata"]["name"]]

        await until(lambda: [pod["status"]["phase"] for pod in gang()] == ["Running"] * 4)
        await asyncio.sleep(5)
        looks = len(operator.results)
        for pod in gang():
            await asyncio.sleep(LINGER / 5)
            controllers.end_pod(pod, 0, messages.trained())
        await asyncio.sleep(LINGER / 2)
        assert "Trained" in true_conditions(kube.find("FineTuneJob", "job"))
        assert len(operator.results) - looks == 1
        await operator.stop()

    virtual_time.run(main())


def test_a_served_job_is_ready_when_its_service_has_answered() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        operator.web.answering = False
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: operator.web.asked > 3)
        assert "Served" not in true_conditions(kube.find("FineTuneJob", "job"))
        operator.web.answering = True
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        assert "Served" in true_conditions(kube.find("FineTuneJob", "job"))
        asked, writes = operator.web.asked, len(kube.writes)
        await asyncio.sleep(3600)
        assert operator.web.asked == asked
        assert len(kube.writes) == writes
        await operator.stop()

    virtual_time.run(main())


def test_a_failed_attempt_is_followed_by_another() -> None:
    def script(pod: Object) -> tuple[int, str] | None:
        labels = pod["metadata"]["labels"]
        first = labels["kubetune.dev/stage"] == "train" and labels["kubetune.dev/attempt"] == "1"
        return (1, "Traceback") if first else good(pod)

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: "Ready" in true_conditions(kube.find("FineTuneJob", "job")))
        raw = kube.find("FineTuneJob", "job")
        assert raw
        assert [a["outcome"] for a in raw["status"]["attempts"]] == ["Failed", "Succeeded"]
        assert kube.writes.count("create Job job-train-2") == 1
        await operator.stop()

    virtual_time.run(main())


def test_bad_data_stalls_the_job_for_good() -> None:
    def script(pod: Object) -> tuple[int, str]:
        del pod
        return 42, messages.failed(Reason.DATA_INVALID, "Line 3 is not JSON.")

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: "Stalled" in true_conditions(kube.find("FineTuneJob", "job")))
        writes = len(kube.requests)
        await asyncio.sleep(3600)
        assert [str(r) for r in kube.requests[writes:] if r.verb != "list"] == []
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("stage", ["prepare", "train"])
def test_a_cluster_that_preempts_every_pod_is_tried_ever_more_slowly(stage: str) -> None:
    def script(pod: Object) -> Outcome | None:
        here = pod["metadata"]["labels"]["kubetune.dev/stage"] == stage
        return (int(ExitCode.PREEMPTED), "") if here else good(pod)

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(3600)
        made = [write for write in kube.writes if write.startswith(f"create Job job-{stage}")]
        assert 8 <= len(made) <= 14
        await operator.stop()

    virtual_time.run(main())
