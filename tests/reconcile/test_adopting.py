"""A job that adopts an artifact: from nothing to served without training anything."""

from __future__ import annotations

import asyncio

from kubetune_trainer.contract.messages import ArtifactSummary, ExitCode, Reason
from tests.support import messages, virtual_time
from tests.support.harness import (
    Controllers,
    Operator,
    Outcome,
    condition_of,
    finetunejob,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object

DIGEST = f"sha256:{'0f' * 32}"
ADAPTER = ArtifactSummary(
    path="job/0123456789abcdef/adapter",
    digest=f"sha256:{'a1' * 32}",
    size_bytes=1000,
    type="LoRA",
    rank=8,
    base_model="pvc://models/smol",
    base_revision="0123456789abcdef",
    source_digest=DIGEST,
    warnings=("The adapter leaves out layers.",),
)


def adopting(*, serving: bool = True) -> Object:
    """A job without rows and without training."""
    job = finetunejob()
    del job["spec"]["training"], job["spec"]["dataset"]
    job["spec"]["artifact"] = {"uri": "pvc://adapters/intents"}
    return job | {"spec": job["spec"] | ({"serving": {"gpus": 0}} if serving else {})}


def adopts(pod: Object) -> Outcome | None:
    """Prepare finds an adapter."""
    stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
    return (0, messages.prepared(artifact=ADAPTER)) if stage == "prepare" else None


def test_an_artifact_is_served_and_nothing_trains() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=adopts)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(adopting())
        await until(
            lambda: true_conditions(kube.find("FineTuneJob", "job")) == ["Ready", "Prepared", "Served"]
        )
        assert [job["metadata"]["name"] for job in kube.of_kind("Job")] == ["job-prepare"]
        assert kube.find("Service", "job-train") is None
        job = kube.find("FineTuneJob", "job")
        assert job is not None
        said = condition_of(job, "Prepared")["message"]
        assert said == "The adapter in pvc://adapters/intents was verified: nothing was trained."
        status = job["status"]
        assert status["artifact"]["sourceDigest"] == DIGEST
        assert status["artifact"]["warnings"] == ["The adapter leaves out layers."]
        assert "worldSize" not in status["plan"]
        assert "training" not in status["plan"]["resources"]
        assert "dataset" not in status
        server = kube.find("Deployment", "job")
        assert server is not None
        (container,) = server["spec"]["template"]["spec"]["containers"]
        arguments = container["args"]
        assert arguments[arguments.index("--max-lora-rank") + 1] == "8"
        await operator.stop()

    virtual_time.run(main())


def test_a_job_that_is_done_stays_so_when_its_run_is_forgotten() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=adopts)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(adopting(serving=False))
        await until(lambda: true_conditions(kube.find("FineTuneJob", "job")) == ["Ready", "Prepared"])
        status = (kube.find("FineTuneJob", "job") or {})["status"]
        for kind in ("Job", "Pod"):
            for child in [*kube.of_kind(kind)]:
                kube.remove(child)
        await asyncio.sleep(300)
        job = kube.find("FineTuneJob", "job") or {}
        assert job["status"]["artifact"] == status["artifact"]
        assert true_conditions(job) == ["Ready", "Prepared"]
        assert not [*kube.of_kind("Job")]
        await operator.stop()

    virtual_time.run(main())


def test_an_artifact_that_cannot_be_served_stalls_the_job_and_is_not_tried_again() -> None:
    said = "artifact.uri pvc://adapters/intents uses DoRA (use_dora), which vLLM does not serve."

    async def main() -> None:
        kube = MemoryKube()
        refused = (ExitCode.INVALID_INPUT, messages.failed(Reason.ADAPTER_INVALID, said))
        Controllers(kube=kube, script=lambda pod: refused)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(adopting())
        await until(lambda: "Stalled" in true_conditions(kube.find("FineTuneJob", "job")))
        stalled = condition_of(kube.find("FineTuneJob", "job") or {}, "Stalled")
        assert stalled["reason"] == "AdapterInvalid"
        assert said in stalled["message"]
        await asyncio.sleep(600)
        assert [job["metadata"]["name"] for job in kube.of_kind("Job")] == ["job-prepare"]
        await operator.stop()

    virtual_time.run(main())
