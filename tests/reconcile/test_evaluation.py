"""A result is judged by its own server before that is public, and only what passes gets a public Service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubetune_trainer.contract.evaluation import Override, Verdict
from tests.support import messages, virtual_time
from tests.support.harness import (
    Controllers,
    Operator,
    Outcome,
    Script,
    finetunejob,
    good,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object
from tests.support.told import job_of, said

ANNOTATION = "kubetune.dev/promote"


def _job(*, serving: bool = True, **training: Any) -> Object:
    raw = finetunejob(serving=serving, **training)
    raw["spec"]["dataset"]["validationFraction"] = "0.1"
    raw["spec"]["evaluation"] = {"metrics": [{"type": "ExactMatch"}], "gate": {"minDelta": "0.05"}}
    return raw


def _ends(verdict: Verdict) -> Script:
    def script(pod: Object) -> Outcome | None:
        stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
        if stage == "evaluate":
            return 0, messages.evaluated(verdict)
        if stage == "promote":
            return 0, messages.evaluated(verdict, _decision(pod))
        return messages.ends_well(pod)

    return script


async def _applied(kube: MemoryKube, job: Object, script: Script, **controllers: Any) -> Operator:
    """A started operator, with pods that end as ``script`` says, once ``job`` is in ``kube``."""
    Controllers(kube=kube, script=script, **controllers)
    operator = Operator(kube=kube)
    await operator.start()
    kube.add(job)
    return operator


def _there(kube: MemoryKube) -> set[tuple[str, str]]:
    """Deployments and Services of servers."""
    found = [(o["kind"], o["metadata"]["name"]) for o in kube.objects.values()]
    return {(kind, name) for kind, name in found if kind in ("Deployment", "Service")} - {
        ("Service", "job-train")
    }


def _decision(pod: Object) -> Override:
    env = {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}
    return Override.model_validate_json(env["KUBETUNE_OVERRIDE"])


SERVED = {("Deployment", "job"), ("Service", "job")}


def _annotate(kube: MemoryKube, why: str | None, *, manager: str = "kubectl-annotate") -> None:
    owned = {"f:metadata": {"f:annotations": {f"f:{ANNOTATION}": {}}}}
    entry = {"manager": manager, "operation": "Update", "time": "2026-03-01T12:00:00Z", "fieldsV1": owned}
    metadata = {"annotations": {ANNOTATION: why}, "managedFields": [entry] if why else []}
    kube.change(job_of(kube), {"metadata": metadata})


def test_what_passes_gets_its_public_service_without_a_restart_of_its_server() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _applied(kube, _job(), _ends("Passed"))
        await until(lambda: ("Service", "job-candidate") in _there(kube))
        assert ("Service", "job") not in _there(kube)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert _there(kube) == SERVED
        assert kube.writes.count("apply Deployment job") == 1
        assert said(kube, "Promoted") == ("True", "GatePassed", messages_said())
        status, _, scores = said(kube, "Evaluated")
        assert (status, scores) == (
            "True",
            "ExactMatch of 200 questions: Tuned 0.7800 (0.7200 to 0.8400), Base 0.5700 (0.5000 to 0.6400).",
        )
        found = job_of(kube)["status"]["evaluation"]
        assert (found["verdict"], found["candidates"][1]["wins"]) == ("Passed", 50)
        assert found["reportUri"] == "pvc://job-output/job/0123456789abcdef/evaluation"
        await operator.stop()

    virtual_time.run(main())


def messages_said() -> str:
    return "ExactMatch 0.78 is 0.21 above Base's 0.57 (95 % interval 0.12 to 0.30)."


def test_two_stages_cost_at_most_six_writes() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _applied(kube, _job(), _ends("Passed"))
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        evaluated = kube.writes
        await operator.stop()
        plain = MemoryKube()
        other = await _applied(plain, finetunejob(serving=True), good)
        await until(lambda: "Ready" in true_conditions(job_of(plain)))
        await other.stop()
        assert len(evaluated) - len(plain.writes) <= 6

    virtual_time.run(main())


def test_what_does_not_pass_is_kept_and_holds_no_server() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _applied(kube, _job(), _ends("Failed"))
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        await asyncio.sleep(120)
        assert _there(kube) == set()
        status, reason, message = said(kube, "Stalled")
        assert (status, reason) == ("True", "GateFailed")
        assert message.startswith("Not passed: ExactMatch 0.78")
        assert 'kubectl annotate ftj job kubetune.dev/promote="why"' in message
        assert said(kube, "Ready")[:2] == ("False", "GateFailed")
        assert said(kube, "Promoted")[:2] == ("False", "GateFailed")
        assert said(kube, "Evaluated")[0] == "True"
        assert said(kube, "Served")[0] == "False"
        assert job_of(kube)["status"]["artifact"]["digest"] == messages.ARTIFACT.digest
        kube.requests.clear()
        await asyncio.sleep(600)
        assert kube.writes == []
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a restart"])
def test_a_person_overrides_the_gate_and_takes_it_back(restart: bool) -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _applied(kube, _job(), _ends("Failed"))
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        await asyncio.sleep(60)
        if restart:
            await operator.stop()
            operator = Operator(kube=kube)
            await operator.start()
            await asyncio.sleep(60)
        _annotate(kube, "The rows are mislabelled; legal has agreed.")
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert _there(kube) == SERVED
        assert said(kube, "Promoted")[:2] == ("True", "GateOverridden")
        assert (
            "kubectl-annotate at 2026-03-01T12:00:00Z: The rows are mislabelled" in said(kube, "Promoted")[2]
        )
        assert job_of(kube)["status"]["evaluation"]["override"] == {
            "by": "kubectl-annotate",
            "reason": "The rows are mislabelled; legal has agreed.",
            "time": "2026-03-01T12:00:00Z",
        }
        job = kube.find("Job", "job-promote")
        assert job
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["evaluate"]
        assert "mislabelled" in next(e["value"] for e in container["env"] if e["name"] == "KUBETUNE_OVERRIDE")
        if restart:
            await operator.stop()
            operator = Operator(kube=kube)
            await operator.start()
            kube.requests.clear()
            await asyncio.sleep(300)
            assert kube.writes == []
        _annotate(kube, "Legal has said so.", manager="jane")
        await until(lambda: kube.find("Job", "job-promote-2") is not None)
        assert _there(kube) == SERVED
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert job_of(kube)["status"]["evaluation"]["override"]["by"] == "jane"
        assert kube.find("Job", "job-promote-3") is None
        _annotate(kube, None)
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        await asyncio.sleep(60)
        assert _there(kube) == set()
        assert "override" not in job_of(kube)["status"]["evaluation"]
        await operator.stop()

    virtual_time.run(main())


def test_without_a_serving_block_the_server_goes_after_the_evaluation() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _applied(kube, _job(serving=False), _ends("Passed"))
        await until(lambda: ("Deployment", "job") in _there(kube))
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert _there(kube) == set()
        assert "Served" not in true_conditions(job_of(kube))
        assert "serving" not in job_of(kube)["status"]
        await operator.stop()

    virtual_time.run(main())


def test_the_base_of_a_full_fine_tune_is_asked_before_the_result_and_never_beside_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        full = messages.ARTIFACT.model_copy(update={"type": "Full", "rank": None})

        def script(pod: Object) -> Outcome | None:
            stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
            return (0, messages.trained(full)) if stage == "train" else _ends("Passed")(pod)

        beside: set[frozenset[str]] = set()

        def see(kind: str, _: str, raw: Object) -> None:
            del kind, raw
            deployments = [o for o in kube.objects.values() if o["kind"] == "Deployment"]
            beside.add(frozenset(o["metadata"]["name"] for o in deployments))

        kube.watchers.append(see)
        operator = await _applied(kube, _job(adapter={"type": "Full"}), script)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert beside == {frozenset(), frozenset({"job-baseline"}), frozenset({"job"})}
        assert _there(kube) == SERVED
        jobs = [o["metadata"]["name"] for o in kube.objects.values() if o["kind"] == "Job"]
        assert sorted(jobs) == ["job-baseline", "job-evaluate", "job-prepare", "job-train-1"]
        asked = {
            name: {e["name"]: e.get("value") for e in container(kube, name)["env"]}
            for name in ("job-baseline", "job-evaluate")
        }
        assert asked["job-baseline"]["KUBETUNE_BASE_URL"] == "http://job-baseline.team.svc/v1"
        assert "KUBETUNE_CANDIDATE_URL" not in asked["job-baseline"]
        assert asked["job-evaluate"]["KUBETUNE_CANDIDATE_URL"] == "http://job-candidate.team.svc/v1"
        assert "KUBETUNE_BASE_URL" not in asked["job-evaluate"]
        await operator.stop()

    virtual_time.run(main())


def container(kube: MemoryKube, job: str) -> Object:
    found = kube.find("Job", job)
    assert found
    (first,) = found["spec"]["template"]["spec"]["containers"]
    return first  # type: ignore[no-any-return]


def test_an_evaluator_that_fails_runs_again_and_one_that_cannot_gives_the_server_up() -> None:
    async def main() -> None:
        kube = MemoryKube()
        failures = {"left": 2}

        def script(pod: Object) -> Outcome | None:
            if pod["metadata"]["labels"]["kubetune.dev/stage"] == "evaluate" and failures["left"]:
                failures["left"] -= 1
                return 1, messages.failed(messages.Reason.UNKNOWN, "The server did not answer.")
            return _ends("Passed")(pod)

        operator = await _applied(kube, _job(), script)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert kube.find("Job", "job-evaluate-3")
        assert kube.writes.count("apply Deployment job") == 1
        await operator.stop()

        hopeless = MemoryKube()
        failures["left"] = 1000
        operator = await _applied(hopeless, _job(retries={"max": 1}), script)
        await until(lambda: "Stalled" in true_conditions(job_of(hopeless)))
        await asyncio.sleep(60)
        assert said(hopeless, "Stalled")[1] == "RetriesExhausted"
        assert _there(hopeless) == set()
        await operator.stop()

    virtual_time.run(main())


def test_an_operator_that_starts_again_in_the_middle_goes_on_with_the_same_run() -> None:
    async def main() -> None:
        kube = MemoryKube()
        operator = await _applied(kube, _job(), _ends("Passed"), runs_for=60)
        await until(lambda: kube.find("Job", "job-evaluate") is not None)
        await operator.stop()
        again = Operator(kube=kube)
        await again.start()
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert kube.find("Job", "job-evaluate-2") is None
        assert kube.writes.count("apply Deployment job") == 1
        await again.stop()

    virtual_time.run(main())
