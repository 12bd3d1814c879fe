"""Whatever pods, controllers and people say, a job's status and its Events hold plain text only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubetune.vocabulary.strangers import all_plain
from tests.support import messages, virtual_time
from tests.support.harness import Controllers, Operator, Outcome, finetunejob, good, until
from tests.support.memory_kube import MemoryKube, Object

ATTACK = "\x1b[31mred\x1b[0m\nReady: True \u202egnp.exe"


def failing(pod: Object) -> Outcome | None:
    """A training that ends with a message as its image likes it."""
    if "train" not in pod["metadata"]["name"]:
        return good(pod)
    return 42, json.dumps({"reason": "DataInvalid", "message": ATTACK})


def talking(pod: Object) -> Outcome | None:
    """A prepare whose warnings and revision are as its image likes them."""
    if "prepare" not in pod["metadata"]["name"]:
        return good(pod)
    told = json.loads(messages.prepared())
    told["summary"]["model"]["revision"] = ATTACK
    told["summary"]["dataset"]["warnings"] = [ATTACK]
    return 0, json.dumps(told)


@pytest.mark.parametrize("script", [failing, talking, lambda pod: (1, ATTACK)])
def test_what_pods_say_when_they_end(script: Any) -> None:
    assert unclean(lived(script)) == []


def test_what_nodes_and_schedulers_say_of_pods_that_wait() -> None:
    def waits(kube: MemoryKube) -> None:
        pod = next(kube.of_kind("Pod"))
        waiting = {"reason": "CreateContainerError", "message": ATTACK}
        status = {"name": "trainer", "state": {"waiting": waiting}}
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        condition = unscheduled | {"message": ATTACK}
        kube.change(pod, {"status": {"conditions": [condition], "containerStatuses": [status]}})

    said = lived(good, meanwhile=waits)
    assert unclean(said) == []
    assert any("red Ready: True" in text for text in texts(said))


def lived(script: Any, *, meanwhile: Any = None) -> list[Any]:
    """Statuses that a job had, and its Events."""

    async def main() -> list[Any]:
        kube = MemoryKube()
        Controllers(kube=kube, script=script, ready_after=0.5 if meanwhile is None else 300)
        operator = Operator(kube=kube)
        await operator.start()
        kube.add(finetunejob())
        await until(lambda: list(kube.of_kind("Pod")))
        if meanwhile is not None:
            meanwhile(kube)
        said: list[Any] = []
        for _ in range(40):
            await asyncio.sleep(2)
            raw = kube.find("FineTuneJob", "job")
            said.append((raw or {}).get("status"))
        await operator.stop()
        return [*said, *(event.get("note") for event in kube.of_kind("Event"))]

    return virtual_time.run(main())


def unclean(value: Any) -> list[str]:
    """Texts that a terminal would obey, or that hide or reorder something."""
    return [text for text in texts(value) if text != all_plain(text)]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value
