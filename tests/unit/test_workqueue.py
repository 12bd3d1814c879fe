"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune.controller.work_queue import BACKOFF_LIMIT, WorkQueue
from kubetune.facts.views import Key, Kind
from kubetune.vocabulary.errors import TransientError
from tests.support import virtual_time

A, B = Key(Kind.FINE_TUNE_JOB, "team", "a"), Key(Kind.FINE_TUNE_JOB, "team", "b")


def _time() -> float:
    return asyncio.get_running_loop().time()


def _run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    virtual_time.run(scenario())


async def _while_running(queue: WorkQueue, seconds: float, *, workers: int = 4) -> None:
    task = asyncio.create_task(queue.run(workers))
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_key_is_handled_once_however_often_it_is_added() -> None:
    async def scenario() -> None:
        seen: list[Key] = []

        async def work(key: Key) -> None:
            seen.append(key)

        queue = WorkQueue(work)
        for _ in range(5):
            queue.add(A)
            queue.add(B)
        await _while_running(queue, 1)
        assert seen == [A, B]

    _run(scenario)


def test_a_key_that_is_added_while_in_work_is_handled_again_and_never_twice_at_a_time() -> None:
    async def scenario() -> None:
        active: Counter[Key] = Counter()
        starts: list[float] = []

        async def work(key: Key) -> None:
            active[key] += 1
            assert active[key] == 1
            starts.append(_time())
            await asyncio.sleep(10)
            active[key] -= 1

        queue = WorkQueue(work)
        queue.add(A)
        task = asyncio.create_task(_while_running(queue, 30))
        await asyncio.sleep(1)
        for _ in range(3):
            queue.add(A)
        await task
        assert starts == [0, 10]

    _run(scenario)


def test_what_is_in_work_is_finished_when_the_queue_ends_unless_it_is_abandoned() -> None:
    async def scenario(*, abandon: bool) -> list[str]:
        seen: list[str] = []

        async def work(key: Key) -> None:
            seen.append(f"{key.name} begun")
            await asyncio.sleep(10)
            seen.append(f"{key.name} done")

        queue = WorkQueue(work)
        queue.add(A)
        queue.add_after(B, 5)
        task = asyncio.create_task(queue.run(4))
        await asyncio.sleep(1)
        if abandon:
            queue.abandon()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(30)
        return seen

    assert virtual_time.run(scenario(abandon=False)) == ["a begun", "a done"]
    assert virtual_time.run(scenario(abandon=True)) == ["a begun"]


def test_no_more_workers_run_than_asked_for() -> None:
    async def scenario() -> None:
        running = most = 0

        async def work(_key: Key) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1

        queue = WorkQueue(work)
        for number in range(20):
            queue.add(Key(Kind.FINE_TUNE_JOB, "team", str(number)))
        await _while_running(queue, 30, workers=3)
        assert most == 3
        assert queue.idle

    _run(scenario)


def test_failures_come_back_ever_later_with_jitter_and_are_forgotten_after_a_success() -> None:
    async def scenario() -> None:
        times: list[float] = []
        broken = True

        async def work(_key: Key) -> None:
            times.append(_time())
            if broken:
                raise RuntimeError("broken")

        queue = WorkQueue(work, seed=1)
        queue.add(A)
        task = asyncio.create_task(_while_running(queue, 4000))
        await asyncio.sleep(1000)
        gaps = [b - a for a, b in pairwise(times)]
        for number, gap in enumerate(gaps):
            full = min(0.5 * 2**number, BACKOFF_LIMIT)
            assert full / 2 <= gap <= full
        broken = False
        await asyncio.sleep(100)
        broken = True
        times.clear()
        queue.add(A)
        await asyncio.sleep(1)
        assert len(times) >= 2
        await task

    _run(scenario)


def test_the_server_decides_when_to_come_back_and_events_do_not_shorten_that() -> None:
    async def scenario() -> None:
        times: list[float] = []

        async def work(_key: Key) -> None:
            times.append(_time())
            if len(times) == 1:
                raise TransientError("429", retry_after=30)

        queue = WorkQueue(work)
        queue.add(A)
        task = asyncio.create_task(_while_running(queue, 100))
        for _ in range(10):
            await asyncio.sleep(1)
            queue.add(A)
            queue.add_after(A, 0.5)
        await task
        assert times == [0, 30]

    _run(scenario)


def test_the_earliest_wish_counts_and_an_event_comes_before_all() -> None:
    async def scenario() -> None:
        times: list[float] = []

        async def work(_key: Key) -> None:
            times.append(_time())

        queue = WorkQueue(work)
        queue.add_after(A, 50)
        queue.add_after(A, 20)
        queue.add_after(A, 70)
        await _while_running(queue, 100)
        assert times == [20]
        queue.add_after(A, 50)
        queue.add(A)
        await _while_running(queue, 100)
        assert times == [20, 100]

    _run(scenario)


def test_what_a_reconcile_asks_for_replaces_what_the_one_before_asked_for() -> None:
    async def scenario() -> None:
        times: list[float] = []
        answers = [timedelta(seconds=5), timedelta(seconds=100), None]

        async def work(_key: Key) -> timedelta | None:
            times.append(_time())
            return answers.pop(0)

        queue = WorkQueue(work)
        queue.add(A)
        task = asyncio.create_task(_while_running(queue, 300))
        await asyncio.sleep(1)
        queue.add(A)
        await task
        assert times == [0, 1, 101]

    _run(scenario)


def test_stopping_finishes_what_is_in_work_and_begins_nothing() -> None:
    async def scenario() -> None:
        finished: list[Key] = []

        async def work(key: Key) -> None:
            await asyncio.sleep(10)
            finished.append(key)

        queue = WorkQueue(work)
        queue.add(A)
        queue.add(B)
        await _while_running(queue, 1, workers=1)
        assert finished == [A]
        assert queue.depth == 1

    _run(scenario)


def test_depth_age_and_results_are_reported() -> None:
    async def scenario() -> None:
        results: list[tuple[str, float]] = []

        async def work(key: Key) -> None:
            await asyncio.sleep(5)
            if key == B:
                raise TransientError("busy")

        queue = WorkQueue(work, on_done=lambda result, seconds: results.append((result, seconds)))
        queue.add(A)
        queue.add(B)
        assert queue.depth == 2
        task = asyncio.create_task(_while_running(queue, 11, workers=1))
        await asyncio.sleep(4)
        assert queue.depth == 1
        assert queue.oldest_age(_time()) == 4
        await task
        assert results[:2] == [("ok", 5.0), ("retry", 5.0)]

    _run(scenario)


_steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "later", "wait"]),
        st.integers(0, 3),
        st.floats(0, 20, allow_nan=False, width=16),
    ),
    max_size=30,
)


@pytest.mark.slow
@settings(max_examples=200)
@given(_steps, st.integers(1, 3), st.data())
def test_no_key_is_lost_and_none_runs_twice_at_a_time(
    steps: list[tuple[str, int, float]], workers: int, data: st.DataObject
) -> None:
    async def scenario() -> None:
        active: set[Key] = set()
        added: dict[Key, float] = {}
        begun: dict[Key, float] = {}

        async def work(key: Key) -> None:
            assert key not in active
            assert len(active) < workers
            active.add(key)
            begun[key] = _time()
            await asyncio.sleep(data.draw(st.floats(0, 5, width=16)))
            active.discard(key)
            if data.draw(st.integers(0, 9)) == 0:
                raise TransientError("busy")

        queue = WorkQueue(work, seed=0)
        task = asyncio.create_task(queue.run(workers))
        for verb, number, seconds in steps:
            key = Key(Kind.FINE_TUNE_JOB, "team", str(number))
            if verb == "wait":
                await asyncio.sleep(seconds)
                continue
            added[key] = max(added.get(key, 0), _time())
            if verb == "add":
                queue.add(key)
            else:
                queue.add_after(key, seconds)
        await asyncio.sleep(1000)
        assert queue.idle
        assert all(begun[key] >= since for key, since in added.items())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _run(scenario)


def test_a_key_that_waits_goes_along_with_what_cannot_wait() -> None:
    async def scenario() -> None:
        starts: list[float] = []

        async def work(key: Key) -> None:
            starts.append(_time())

        queue = WorkQueue(work)
        running = asyncio.create_task(_while_running(queue, 60))
        queue.add_after(A, 1)
        await asyncio.sleep(0.5)
        queue.add(A)
        await asyncio.sleep(5)
        queue.add_after(A, 1)
        await running
        assert starts == [0.5, 6.5]

    _run(scenario)


def test_what_comes_while_a_key_is_in_work_is_handled_after_its_wait() -> None:
    async def scenario() -> None:
        starts: list[float] = []

        async def work(key: Key) -> None:
            starts.append(_time())
            await asyncio.sleep(10)

        queue = WorkQueue(work)
        running = asyncio.create_task(_while_running(queue, 60))
        queue.add(A)
        await asyncio.sleep(8)
        queue.add_after(A, 1)
        await asyncio.sleep(1.5)
        queue.add_after(A, 1)
        await running
        assert starts == [0, 10]

    _run(scenario)


def test_what_may_wait_does_not_cut_a_backoff_short() -> None:
    async def scenario() -> None:
        starts: list[float] = []

        async def work(key: Key) -> None:
            starts.append(_time())
            await asyncio.sleep(0.5)
            if len(starts) == 1:
                raise TransientError("try later", retry_after=30)

        queue = WorkQueue(work)
        running = asyncio.create_task(_while_running(queue, 60))
        queue.add(A)
        await asyncio.sleep(0.2)
        queue.add_after(A, 1)
        await running
        assert starts == [0, 30.5]

    _run(scenario)
