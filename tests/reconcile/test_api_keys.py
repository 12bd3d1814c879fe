"""Servers that ask for a key: the operator knows that they answer, and reads no Secret."""

from __future__ import annotations

import asyncio
from typing import Any

from kubetune.facts.canary import Canary
from tests.support import messages, virtual_time
from tests.support.harness import (
    SAME,
    Controllers,
    Operator,
    Outcome,
    finetunejob,
    starting_server,
    trains,
    true_conditions,
    until,
)
from tests.support.memory_kube import MemoryKube, Object
from tests.support.told import job_of, said

KEYED: dict[str, Any] = {"apiKey": {"secretName": "clients"}}
KEYLESS: Canary = SAME.model_copy(update={"keyless": True})


def _secrets(kube: MemoryKube) -> list[str]:
    """Secrets that the server's pods have mounted."""
    deployment = kube.find("Deployment", "job")
    assert deployment
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    return [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]


async def _begun(kube: MemoryKube, serving: dict[str, Any]) -> Operator:
    operator = Operator(kube=kube)
    await operator.start()
    raw = finetunejob(serving=True)
    raw["spec"]["serving"] = serving
    kube.add(raw)
    return operator


def test_a_server_with_keys_is_ready_and_an_edit_of_them_replaces_it() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = await _begun(kube, KEYED)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert _secrets(kube) == ["clients"]
        assert job_of(kube)["status"]["serving"]["canary"] == SAME.model_dump()
        for serving, secrets in (
            ({"apiKey": {"secretName": "others"}}, ["others"]),
            ({"apiKey": None}, []),
            (KEYED, ["clients"]),
        ):
            kube.change(job_of(kube), {"spec": {"serving": serving}})
            await until(lambda secrets=secrets: _secrets(kube) == secrets)
            await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert kube.writes.count("apply Deployment job") == 4
        await operator.stop()

    virtual_time.run(main())


def test_a_server_without_any_key_is_not_ready_and_the_job_names_the_secret() -> None:
    async def main() -> None:
        kube = MemoryKube()
        controllers = Controllers(kube=kube)
        operator = await _begun(kube, KEYED)
        operator.web.said = KEYLESS
        await until(lambda: any(trains(pod) for pod in kube.of_kind("Pod")))
        controllers.ready_after = 100_000.0
        await until(lambda: kube.find("Deployment", "job"))
        kube.add(starting_server(kube))
        await asyncio.sleep(60)
        assert said(kube, "Served")[:2] == ("False", "SecretNotFound")
        assert said(kube, "Reconciling") == (
            "True",
            "SecretNotFound",
            "The server in pod job-abc asks for a key and has none to accept: Secret clients "
            "(serving.apiKey.secretName) has no value of printable ASCII characters without spaces. Put a "
            "key into it, which reaches the server without a restart, or name another Secret.",
        )
        assert "Stalled" not in true_conditions(job_of(kube))
        operator.web.said = SAME
        await asyncio.sleep(60)
        assert said(kube, "Served")[:2] == ("False", "Deploying")
        await operator.stop()

    virtual_time.run(main())


def test_both_servers_of_an_evaluation_and_who_asks_them_have_the_keys_and_nobody_else() -> None:
    async def main() -> None:
        kube = MemoryKube()
        full = messages.ARTIFACT.model_copy(update={"type": "Full", "rank": None})

        def script(pod: Object) -> Outcome | None:
            stage = pod["metadata"]["labels"]["kubetune.dev/stage"]
            ends = {"train": (0, messages.trained(full)), "evaluate": (0, messages.evaluated("Passed"))}
            return ends.get(stage) or messages.ends_well(pod)

        mounted: dict[tuple[str, str], list[str]] = {}

        def see(kind: str, _: str, raw: Object) -> None:
            if kind in ("Deployment", "Job"):
                volumes = raw["spec"]["template"]["spec"]["volumes"]
                found = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
                mounted[kind, raw["metadata"]["name"]] = found

        kube.watchers.append(see)
        Controllers(kube=kube, script=script)
        operator = Operator(kube=kube)
        await operator.start()
        raw = finetunejob(serving=True, adapter={"type": "Full"})
        evaluation = {"metrics": [{"type": "ExactMatch"}], "gate": {"minDelta": "0.05"}}
        raw["spec"] |= {"serving": KEYED, "evaluation": evaluation}
        raw["spec"]["dataset"]["validationFraction"] = "0.1"
        kube.add(raw)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        assert mounted == {
            ("Job", "job-prepare"): [],
            ("Job", "job-train-1"): [],
            ("Deployment", "job-baseline"): ["clients"],
            ("Job", "job-baseline"): ["clients"],
            ("Deployment", "job"): ["clients"],
            ("Job", "job-evaluate"): ["clients"],
        }
        await operator.stop()

    virtual_time.run(main())
