"""Every write passes the fence: in its term with the time that is left, after it not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kubetune.cluster.election import WRITE_DEADLINE, Term
from kubetune.cluster.fence import FencedKube
from kubetune.cluster.kube import Kube
from kubetune.facts.views import Kind
from kubetune.vocabulary.errors import TransientError
from tests.support import virtual_time
from tests.support.harness import finetunejob
from tests.support.link import Link
from tests.support.memory_kube import MemoryKube

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "job", "namespace": "team"},
}
WRITES: dict[str, Callable[[Kube], Awaitable[Any]]] = {
    "create": lambda kube: kube.create(SERVICE),
    "apply": lambda kube: kube.apply(SERVICE),
    "delete": lambda kube: kube.delete(Kind.SERVICE, "team", "job", uid="uid-1"),
    "patch": lambda kube: kube.patch_status("team", "job", uid="uid-1", status={"observedGeneration": 1}),
}
READS: dict[str, Callable[[Kube], Awaitable[Any]]] = {
    "get": lambda kube: kube.get(Kind.FINE_TUNE_JOB, "team", "job"),
    "list": lambda kube: kube.list(Kind.POD, "team", selector=""),
    "list_metadata": lambda kube: kube.list_metadata(Kind.JOB),
    "events_of": lambda kube: kube.events_of("team", name="job", uid="uid-1"),
}


def test_the_protocol_has_no_other_writes_and_reads() -> None:
    methods = {name for name in vars(Kube) if not name.startswith("_")}
    assert methods == {*WRITES, *READS} - {"patch"} | {"patch_status"}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_passes_in_its_term_and_never_after_it(write: Callable[[Kube], Awaitable[Any]]) -> None:
    async def main() -> None:
        kube = MemoryKube()
        kube.add(finetunejob())
        term = Term(renewed=0.0)
        fenced = FencedKube(kube, term)
        await write(fenced)
        sent = len(kube.requests)
        assert sent == 1
        await asyncio.sleep(10)
        with pytest.raises(TransientError, match="another operator may hold the Lease"):
            await write(fenced)
        term.renewed = 10.0
        term.ended = True
        with pytest.raises(TransientError, match="another operator may hold the Lease"):
            await write(fenced)
        assert len(kube.requests) == sent

    virtual_time.run(main())


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_that_hangs_is_given_up_before_another_may_act(
    write: Callable[[Kube], Awaitable[Any]],
) -> None:
    async def main() -> None:
        link = Link(kube=MemoryKube(), who="one", there=lambda: 60.0)
        await asyncio.sleep(9)
        with pytest.raises(TransientError, match=r"given up after 4 s"):
            await write(FencedKube(link, Term(renewed=0.0)))
        assert asyncio.get_running_loop().time() == WRITE_DEADLINE
        await asyncio.sleep(120)
        assert link.kube.requests == []

    virtual_time.run(main())


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_are_free(read: Callable[[Kube], Awaitable[Any]]) -> None:
    async def main() -> None:
        kube = MemoryKube()
        kube.add(finetunejob())
        await read(FencedKube(kube, Term(renewed=-100.0)))
        assert len(kube.requests) == 1

    virtual_time.run(main())
