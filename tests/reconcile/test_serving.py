"""A server's life: edited, changed by others, silent, refused."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from kubetune.vocabulary.errors import Invalid, Rejected
from tests.support import virtual_time
from tests.support.harness import (
    SETTINGS,
    Controllers,
    Operator,
    Outcome,
    finetunejob,
    good,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object, Request
from tests.support.told import job_of, said


def _edit(kube: MemoryKube, serving: dict[str, Any]) -> None:
    kube.change(job_of(kube), {"spec": {"serving": serving}})


async def _served(kube: MemoryKube, operator: Operator, **serving: Any) -> None:
    await operator.start()
    raw = finetunejob(serving=True)
    raw["spec"]["serving"] = serving
    kube.add(raw)
    await until(lambda: "Ready" in true_conditions(job_of(kube)))


def _applies(kube: MemoryKube) -> int:
    return kube.writes.count("apply Deployment job")


def test_served_stays_true_while_an_edit_is_rolled_out() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator)
        controllers.ready_after = 60
        seen: set[tuple[bool, bool]] = set()

        def see(kind: str, _: str, raw: Object) -> None:
            if kind == "FineTuneJob":
                true = true_conditions(raw)
                seen.add(("Served" in true, "Ready" in true))

        kube.watchers.append(see)
        _edit(kube, {"engineArgs": {"max-model-len": "512"}})
        await asyncio.sleep(300)
        assert seen == {(True, True), (True, False)}
        assert _applies(kube) == 2
        await operator.stop()

    virtual_time.run(main())


def test_an_image_that_a_webhook_rewrites_is_no_edit() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)

        def mirror(manifest: Object) -> Object:
            changed = copy.deepcopy(manifest)
            if manifest["kind"] == "Deployment":
                changed["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/serving:1"
            return changed

        kube.admit = mirror
        await _served(kube, operator)
        await asyncio.sleep(600)
        assert _applies(kube) == 1
        await operator.stop()

    virtual_time.run(main())


def test_a_server_that_somebody_scaled_by_hand_is_put_right() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator, replicas=1)
        live = kube.find("Deployment", "job")
        assert live
        kube.change(live, {"spec": {"replicas": 0}})
        await asyncio.sleep(5)
        assert kube.find("Deployment", "job")["spec"]["replicas"] == 1  # type: ignore[index]
        assert _applies(kube) == 2
        await operator.stop()

    virtual_time.run(main())


def test_a_server_that_is_ready_but_does_not_answer_is_told_with_the_reason() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        operator.web.answering = False
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: kube.find("Deployment", "job"))
        await asyncio.sleep(60)
        assert said(kube, "Served")[:2] == ("False", "Deploying")
        message = said(kube, "Reconciling")[2]
        assert message == (
            "A server is ready, but http://job.team.svc/v1 does not answer the operator: All connection "
            "attempts failed. Allow it in the namespace's NetworkPolicy, or look at the server's log."
        )
        looks = len(operator.results)
        await asyncio.sleep(600)
        assert len(operator.results) - looks < 5
        operator.web.answering = True
        await until(lambda: "Ready" in true_conditions(job_of(kube)), seconds=70)
        await operator.stop()

    virtual_time.run(main())


def test_a_server_that_died_before_it_answered_is_not_said_to_be_ready() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        operator.web.answering = False
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: "does not answer" in str(job_of(kube)))
        live = kube.find("Deployment", "job")
        assert live
        kube.change(live, {"status": dict.fromkeys(("readyReplicas", "availableReplicas"), 0)})
        await asyncio.sleep(40)
        assert "A server is ready" not in said(kube, "Served")[2]
        asked = operator.web.asked
        await asyncio.sleep(100)
        assert operator.web.asked == asked
        await operator.stop()

    virtual_time.run(main())


def test_a_finished_job_that_gets_a_server_is_served_only_when_it_answered() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        operator.web.answering = False
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        _edit(kube, {})
        await until(lambda: operator.web.asked > 3)
        assert not {"Ready", "Served"} & {*true_conditions(job_of(kube))}
        operator.web.answering = True
        await until(lambda: {"Ready", "Served"} <= {*true_conditions(job_of(kube))})
        await operator.stop()

    virtual_time.run(main())


@pytest.mark.parametrize("kind", ["Deployment", "Service"])
def test_a_server_that_is_made_again_has_to_answer_again(kind: str) -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator)
        operator.web.answering, operator.web.asked = False, 0
        lost = kube.find(kind, "job")
        assert lost
        kube.remove(lost)
        await asyncio.sleep(150)  # Services are not watched
        assert kube.find(kind, "job")
        assert operator.web.asked > 3
        assert not {"Ready", "Served"} & {*true_conditions(job_of(kube))}
        operator.web.answering = True
        await until(lambda: {"Ready", "Served"} <= {*true_conditions(job_of(kube))})
        await operator.stop()

    virtual_time.run(main())


def test_a_server_that_the_api_server_finds_invalid_waits_for_an_edit() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator)

        def refuse(request: Request) -> None:
            serving = job_of(kube)["spec"]["serving"]
            if request.verb == "apply" and "resources" in serving:
                raise _invalid(request)

        kube.before = refuse
        _edit(kube, {"resources": {"requests": {"rdma/hca": "1"}}})
        await asyncio.sleep(600)
        status, reason, message = said(kube, "Stalled")
        assert (status, reason) == ("True", "InvalidSpec")
        assert message == "Deployment job is refused: spec.template: Invalid value. Correct spec.serving."
        assert _applies(kube) <= 3
        assert said(kube, "Served")[0] == "True"
        _edit(kube, {"resources": None, "replicas": 1})
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_an_edit_that_a_policy_refuses_is_not_ready_while_the_earlier_server_answers() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator)

        def refuse(request: Request) -> None:
            if request.verb == "apply":
                raise _forbidden(request)

        kube.before = refuse
        _edit(kube, {"engineArgs": {"max-model-len": "512"}})
        for _ in range(2):
            await until(lambda: job_of(kube)["status"]["observedGeneration"] == 2)
            await asyncio.sleep(60)
            assert said(kube, "Ready")[:2] == ("False", "PodRejected")
            assert said(kube, "Reconciling")[1:] == (
                "PodRejected",
                "Deployment job is refused: a policy says no. Change the policy, or what it objects to in "
                "the spec.",
            )
            assert said(kube, "Served")[0] == "True"
            await operator.stop()
            operator = Operator(kube=kube)
            await operator.start()
        kube.before = lambda _request: None
        await until(lambda: "Ready" in true_conditions(job_of(kube)), seconds=60)
        await operator.stop()

    virtual_time.run(main())


def test_training_that_the_api_server_finds_invalid_is_said_once() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)

        def refuse(request: Request) -> None:
            if str(request) == "create Job job-train-1":
                raise _invalid(request)

        kube.before = refuse
        await operator.start()
        kube.add(finetunejob())
        await asyncio.sleep(600)
        status, reason, message = said(kube, "Stalled")
        assert (status, reason) == ("True", "InvalidSpec")
        assert message.startswith(
            "Job job-train-1 is refused: spec.template: Invalid value. Correct the spec, "
        )
        assert kube.writes.count("create Job job-train-1") == 1
        await operator.stop()

    virtual_time.run(main())


def test_an_edit_with_resources_that_contradict_themselves_is_invalid_and_keeps_the_server() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator)
        _edit(kube, {"resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "6Gi"}}})
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        assert "spec.serving.resources.requests[memory]" in said(kube, "Stalled")[2]
        assert said(kube, "Trained")[0] == "True"
        assert said(kube, "Served")[0] == "True"
        assert kube.find("Deployment", "job")
        assert _applies(kube) == 1
        await operator.stop()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(60)
        assert said(kube, "Served")[0] == "True"
        _edit(kube, {"resources": None})
        await until(lambda: {"Ready", "Served"} <= {*true_conditions(job_of(kube))})
        assert _applies(kube) == 1
        await again.stop()

    virtual_time.run(main())


def test_an_invalid_server_is_said_at_once_and_does_not_stop_training() -> None:
    def script(pod: Object) -> Outcome | None:
        if pod["metadata"]["name"].startswith("job-train-1"):
            return 1, "Traceback"
        return good(pod)

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob(serving=True))
        await until(lambda: kube.find("Job", "job-train-1"))
        _edit(kube, {"resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "6Gi"}}})
        await asyncio.sleep(10)
        assert said(kube, "Stalled")[:2] == ("True", "InvalidSpec")
        await until(lambda: kube.find("Job", "job-train-2"))
        await until(lambda: "Trained" in true_conditions(job_of(kube)))
        assert said(kube, "Stalled")[:2] == ("True", "InvalidSpec")
        await asyncio.sleep(60)
        assert kube.find("Deployment", "job") is None
        _edit(kube, {"resources": None})
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_nothing_is_made_for_a_new_job_whose_server_is_invalid() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        raw = finetunejob(serving=True)
        raw["spec"]["serving"] = {"resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "6Gi"}}}
        kube.add(raw)
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        await asyncio.sleep(60)
        assert kube.writes == ["patch FineTuneJob job"]
        _edit(kube, {"resources": None})
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())


def test_a_configuration_that_somebody_deletes_is_written_again_as_it_was() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await _served(kube, operator)
        config = kube.find("ConfigMap", "job-config")
        assert config
        await operator.stop()
        kube.remove(config)
        upgraded = Operator(kube=kube, settings=SETTINGS.model_copy(update={"serving_image": "serving:2"}))
        await upgraded.start()
        _edit(kube, {"replicas": 2})
        await asyncio.sleep(60)
        again = kube.find("ConfigMap", "job-config")
        assert again
        assert "serving:2" not in again["data"]["config.json"]
        deployment = kube.find("Deployment", "job")
        assert deployment
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "serving:1"
        await upgraded.stop()

    virtual_time.run(main())


def _invalid(request: Request) -> Invalid:
    of = {"verb": request.verb, "kind": request.kind, "name": request.name}
    return Invalid("spec.template: Invalid value", namespace="team", status=422, **of)


def _forbidden(request: Request) -> Rejected:
    of = {"verb": request.verb, "kind": request.kind, "name": request.name}
    return Rejected("a policy says no", namespace="team", status=403, **of)
