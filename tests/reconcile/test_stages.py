"""A stage that nobody has heard of needs its own module and a row in the table, in the simulated cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from typing_extensions import override

from kubetune.api.conditions import is_true
from kubetune.api.v1alpha1 import FineTuneJob
from kubetune.children.common import Volumes, env
from kubetune.children.trainer_job import build_trainer_job
from kubetune.facts.observed import Observed, Outcome
from kubetune.stages.plan import Plan
from kubetune.stages.prepare import PREPARE
from kubetune.stages.retries import next_run
from kubetune.stages.serve import SERVE
from kubetune.stages.stage import Look, Stage
from kubetune.stages.table import STAGES
from kubetune.stages.train import TRAIN
from kubetune.vocabulary.names import Names
from kubetune.vocabulary.reasons import Finding, Reason
from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, finetunejob, until
from tests.support.harness import good as good_stages
from tests.support.memory_kube import MemoryKube, Object


class _Toy(Stage):
    """Between training and serving, a Job of its own looks at the result."""

    name = "toy"
    condition = "Toyed"

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return job.spec.serving is not None

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        if job.status is not None and is_true(job.status.conditions, self.condition):
            return True
        run = observed.last_run(self.name)
        return run is not None and run.ending is not None and run.ending.outcome is Outcome.SUCCEEDED

    @override
    def plan(self, look: Look) -> Plan:
        def build(number: int) -> dict[str, Any]:
            return build_trainer_job(
                look.job,
                name=Names(look.job.metadata.name).run(self.name, number),
                stage=self.name,
                number=number,
                container={"image": look.config.images.trainer, "env": env(HOME="/tmp")},
                volumes=Volumes(),
                settings=look.settings,
                spec={"completions": 1, "parallelism": 1},
            )

        return next_run(self, look, build)

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        return Finding(Reason.TRAINING, "The toy plays.")

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        return Finding(Reason.COMPLETED, "The toy has played.") if self.reached(job, observed) else None


TOY: Final = _Toy()
WITH_TOY: Final = (PREPARE, TRAIN, TOY, SERVE)


def _good(pod: Object) -> tuple[int, str] | None:
    return (0, "") if pod["metadata"]["labels"]["kubetune.dev/stage"] == "toy" else good_stages(pod)


def _said(kube: MemoryKube) -> dict[str, tuple[str, str]]:
    conditions = (kube.find("FineTuneJob", "job") or {}).get("status", {}).get("conditions", ())
    return {c["type"]: (c["status"], c["message"]) for c in conditions}


def test_a_new_stage_runs_between_others_and_has_its_condition() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=_good)
        operator = Operator(kube=kube, stages=WITH_TOY)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: kube.find("Job", "job-prepare"))
        await until(lambda: "Served" in _said(kube))
        assert _said(kube)["Toyed"] == ("False", "Waits for Prepared.")
        await until(lambda: kube.find("Job", "job-toy"))
        assert kube.find("Deployment", "job") is None
        await until(lambda: _said(kube)["Reconciling"][1] == "The toy plays.")
        assert _said(kube)["Served"] == ("False", "Waits for Toyed.")
        await until(lambda: _said(kube)["Ready"][0] == "True")
        assert _said(kube)["Toyed"] == ("True", "The toy has played.")
        made = [write for write in kube.writes if write.startswith(("create Job", "apply"))]
        assert made == [
            "create Job job-prepare",
            "create Job job-train-1",
            "create Job job-toy",
            "apply Deployment job",
        ]
        await operator.stop()

    virtual_time.run(main())


def test_a_new_stage_has_the_budget_and_the_pauses_of_the_others() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(
            kube=kube,
            script=lambda pod: (1, "") if "-toy" in pod["metadata"]["name"] else good_stages(pod),
        )
        operator = Operator(kube=kube, stages=WITH_TOY)
        await operator.start()
        kube.add(finetunejob(serving=True, retries={"max": 1}))
        await until(lambda: "Stalled" in _said(kube))
        stalled = _said(kube)["Stalled"][1]
        assert stalled.startswith("2 runs of toy failed, and training.retries.max is 1.")
        assert _said(kube)["Toyed"] == ("False", "See Stalled.")
        toys = [write for write in kube.writes if "-toy" in write]
        assert toys == ["create Job job-toy", "create Job job-toy-2"]
        assert (kube.find("FineTuneJob", "job") or {})["status"]["retries"] == [
            {"stage": "toy", "number": 2, "failures": 2, "interruptions": 0}
        ]
        await operator.stop()

    virtual_time.run(main())


def test_the_table_is_the_default() -> None:
    assert replace(Operator(kube=MemoryKube())).stages == STAGES
