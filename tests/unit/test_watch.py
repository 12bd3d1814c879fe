"""What is known about the health of watches, in virtual time; and that kopf is what the guard expects."""

from __future__ import annotations

import asyncio
import inspect
from itertools import islice, pairwise

import kopf
from kopf._cogs.clients import watching

from kubetune.cluster.watch import SILENCE_LIMIT, Watches, guarded_watches, kopf_settings
from tests.support import virtual_time


def _watches(expected: int = 2) -> tuple[Watches, list[str]]:
    restarts: list[str] = []
    return Watches(expected=expected, on_restart=restarts.append), restarts


def _now() -> float:
    return asyncio.get_running_loop().time()


def test_workers_start_when_every_stream_is_listed() -> None:
    async def scenario() -> None:
        watches, _ = _watches()
        waiting = asyncio.create_task(watches.wait_until_listed())
        watches.listed("jobs", "")
        await asyncio.sleep(1)
        assert not waiting.done()
        watches.listed("pods", "")
        await waiting

    virtual_time.run(scenario())


def test_a_silent_watch_is_unhealthy() -> None:
    async def scenario() -> None:
        watches, _ = _watches(1)
        assert watches.silent(_now()) is None
        watches.listed("jobs", "team")
        await asyncio.sleep(SILENCE_LIMIT - 1)
        assert watches.silent(_now()) is None
        await asyncio.sleep(2)
        assert watches.silent(_now()) == "nothing has come on the watch of jobs in team for 151 s"
        watches.heard("jobs", "team")
        assert watches.silent(_now()) is None

    virtual_time.run(scenario())


def test_backoffs_never_end_and_grow_to_a_limit() -> None:
    backoffs = kopf_settings().networking.error_backoffs
    assert not isinstance(backoffs, (int, float))
    for _ in range(2):  # kopf iterates anew for each request
        first = list(islice(backoffs, 200))
        assert 0.25 <= first[0] <= 0.5
        assert all(7.5 <= delay <= 15 for delay in first[10:])
        assert any(a != b for a, b in pairwise(first[10:]))


def test_kopf_has_the_private_function_that_the_guard_replaces() -> None:
    parameters = inspect.signature(watching.infinite_watch).parameters
    assert list(parameters) == ["settings", "resource", "namespace", "operator_paused", "_iterations"]
    assert {mark.name for mark in watching.Bookmark} == {"LISTED"}
    original = watching.infinite_watch
    with guarded_watches(_watches()[0], lambda *_: None):
        assert watching.infinite_watch is not original
    assert watching.infinite_watch is original


def test_kopf_stores_no_differences_and_posts_nothing() -> None:
    settings = kopf_settings()
    storage = settings.persistence.diffbase_storage
    assert storage.build(body=kopf.Body({})) == {}
    assert storage.fetch(body=kopf.Body({})) is None
    assert not settings.posting.enabled
    assert settings.scanning.disabled
