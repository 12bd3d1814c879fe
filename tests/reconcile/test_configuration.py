"""The ConfigMap with a job's configuration: what it holds may be of another version, edited, or not ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import virtual_time
from tests.support.harness import Controllers, Operator, condition_of, finetunejob, true_conditions, until
from tests.support.memory_kube import MemoryKube
from tests.support.told import job_of

Edit = Callable[[dict[str, Any]], dict[str, Any] | str]


def _with_settings(**settings: Any) -> Edit:
    def edit(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "operator": {"settings": {**config["operator"]["settings"], **settings}}}

    return edit


REMEDY = "run the version that started the job, or " + (
    "delete the FineTuneJob and apply it again (finished work is adopted)"
)
UNREADABLE: dict[str, tuple[Edit, str]] = {
    "a setting that is narrower now": (
        _with_settings(retry_backoff_seconds=601),
        "settings.retry_backoff_seconds: Input should be less than or equal to 600",
    ),
    "a setting of another type": (
        _with_settings(image_pull_secrets=5),
        "settings.image_pull_secrets: Input should be a valid tuple",
    ),
    "no settings": (
        lambda config: {**config, "operator": {"settings": 5}},
        "settings.serving_image: Field required",
    ),
    "no JSON": (lambda _: "{", "config.json: Invalid JSON: EOF while parsing an object at line 1 column 1"),
    "a later version": (lambda config: {**config, "version": 2}, "version: Input should be 1"),
    "another job's": (lambda config: {**config, "name": "other"}, "name: it is that of team/other"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_configuration_that_cannot_be_read_is_told_and_never_overwritten(case: str) -> None:
    edit, problem = UNREADABLE[case]

    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: kube.find("Job", "job-train-1"))
        await operator.stop()
        config = kube.find("ConfigMap", "job-config")
        assert config
        good = config["data"]["config.json"]
        edited = edit(json.loads(good))
        text = edited if isinstance(edited, str) else json.dumps(edited)
        kube.change(config, {"data": {"config.json": text}})
        kube.requests.clear()
        again = Operator(kube=kube)
        await again.start()
        await asyncio.sleep(120)
        stalled = condition_of(job_of(kube), "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
        assert stalled["message"] == (
            f"ConfigMap job-config: cannot be read by this version of KubeTune ({problem}); {REMEDY}"
        )
        assert {*kube.writes} == {"patch FineTuneJob job"}
        config = kube.find("ConfigMap", "job-config")
        assert config
        kube.change(config, {"data": {"config.json": good}})
        await until(lambda: "Stalled" not in true_conditions(job_of(kube)))
        await again.stop()

    virtual_time.run(main())


def test_a_configuration_that_is_not_ours_is_a_conflict_of_names_and_not_read() -> None:
    async def main() -> None:
        kube = MemoryKube()
        Controllers(kube=kube)
        operator = Operator(kube=kube)
        await operator.start()
        foreign = kube.add(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"namespace": "team", "name": "job-config"},
                "data": {"config.json": "{"},
            }
        )
        kube.add(finetunejob())
        await until(lambda: "Stalled" in true_conditions(job_of(kube)))
        assert condition_of(job_of(kube), "Stalled")["reason"] == "NameConflict"
        assert kube.find("ConfigMap", "job-config") == foreign
        kube.remove(foreign)
        await until(lambda: "Ready" in true_conditions(job_of(kube)))
        await operator.stop()

    virtual_time.run(main())
