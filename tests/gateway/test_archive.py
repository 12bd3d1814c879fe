"""What is kept of jobs: who is believed, and how much is read for a list."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from kubetune_gateway.archive.kept import MOST_BYTES, Cancelled, Kept, Record, seen, trimmed, unsettled
from kubetune_gateway.archive.store import Archive
from kubetune_gateway.ids import results_id
from kubetune_gateway.jobs.events import events
from kubetune_gateway.jobs.record import record
from kubetune_gateway.jobs.steps import Step
from kubetune_gateway.store.bucket import Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.wire.jobs import Status
from tests.support import s3_server
from tests.support.golden import cases
from tests.support.golden_jobs import UID, golden
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

PLACES = Places("clients", "openai/")
CANCELLED_AT, DELETED_AT = 1772366400, 1772366500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as found:
        yield found


class CountingBucket(Bucket):
    """Counts what is read."""

    reads = 0

    async def get(self, key: str) -> bytes | None:
        self.reads += 1
        return await super().get(key)


def with_archive(server: S3Server, use: Callable[[Archive, CountingBucket], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with s3_client(endpoint=server.url, region=REGION, key=KEY, secret=SECRET) as client:
            bucket = CountingBucket(client, PLACES.bucket)
            return await use(Archive(bucket, PLACES), bucket)

    return asyncio.run(main())


@functools.cache
def read(name: str) -> dict[str, Any]:
    return golden(name)


def job(name: str, uid: str = UID) -> dict[str, Any]:
    raw = copy.deepcopy(read(name))
    raw["metadata"] |= {"uid": uid, "managedFields": [{"manager": "kubectl"}], "resourceVersion": "7"}
    return raw


def kept(raw: dict[str, Any], *, cancelled: bool = False, **fields: Any) -> Kept:
    return Kept(
        record=Record(raw=trimmed(raw), **fields),
        cancelled=Cancelled(raw=trimmed(raw), cancelled_at=CANCELLED_AT) if cancelled else None,
    )


@pytest.mark.parametrize("name", cases())
def test_a_job_that_is_gone_is_told_as_it_was(name: str) -> None:
    raw = job(name)
    found = seen(None, kept(raw))
    assert found is not None
    assert (found.told, events(found.raw)) == (record(raw), events(raw))
    assert found.raw["metadata"].keys() <= {
        *("name", "namespace", "uid", "creationTimestamp", "generation", "annotations", "deletionTimestamp")
    }


@pytest.mark.parametrize(
    ("live", "then", "fields", "told"),
    [
        ("training", None, {}, ("running", None)),
        ("training", "serving", {}, ("running", None)),
        (None, "training", {}, ("running", None)),
        (None, "training", {"deleted_at": DELETED_AT}, ("cancelled", DELETED_AT)),
        (None, "training", {"deleted_at": DELETED_AT, "cancelled": True}, ("cancelled", CANCELLED_AT)),
        ("training", "training", {"cancelled": True}, ("cancelled", CANCELLED_AT)),
        (None, "serving", {"deleted_at": DELETED_AT}, ("succeeded", 1772366400)),
        (None, "data-invalid", {"deleted_at": DELETED_AT}, ("failed", 1772366400)),
        ("training", "data-invalid", {"deleted_at": DELETED_AT}, ("running", None)),
    ],
)
def test_a_finetunejob_is_believed_unless_a_client_has_cancelled_it(
    live: str | None, then: str | None, fields: dict[str, Any], told: tuple[str, int | None]
) -> None:
    found = seen(job(live) if live else None, kept(job(then), **fields) if then else None)
    assert found is not None
    assert (found.told.status, found.told.finished_at) == told


@pytest.mark.parametrize(
    ("name", "ended_at", "seconds", "told"),
    [
        ("serving", {}, 1, "running"),
        ("serving", {"succeeded": 1772366400}, 1, "succeeded"),
        ("serving", {}, 31, "succeeded"),
        ("serving", {"failed": 1772366000}, 1, "running"),
        ("data-invalid", {}, 1, "validating_files"),
        ("data-invalid", {"failed": 1772366400}, 1, "failed"),
        ("training", {}, 1, "running"),
    ],
)
def test_an_end_is_told_once_it_is_kept_with_its_result_file(
    name: str, ended_at: dict[Status, int], seconds: int, told: str
) -> None:
    found = record(unsettled(job(name), ended_at, 1772366400 + seconds))
    assert found.status == told
    assert (found.finished_at is None) == (found.error is None and found.fine_tuned_model is None)


def test_a_cancelled_job_tells_what_it_has_trained_and_no_error() -> None:
    found = seen(None, kept(job("training"), cancelled=True, results="sha"))
    assert found is not None
    told = found.told
    assert (told.trained_tokens, told.error, told.fine_tuned_model) == (43200, None, None)
    assert told.result_files == (results_id(UID),)
    newest = [event.message for event in events(found.raw, (), found.beside)][:2]
    assert newest == [f"Completed results file: {results_id(UID)}", "Fine-tuning job cancelled"]


def test_of_an_object_that_is_too_large_there_is_what_clients_are_told() -> None:
    raw = job("serving")
    raw["spec"]["podTemplate"] = {"x": "y" * MOST_BYTES}
    small = trimmed(raw)
    assert len(json.dumps(small)) < 20_000
    assert (record(small), events(small)) == (record(raw), events(raw))


@s3_server.needed
def test_the_first_who_cancels_is_kept(server: S3Server) -> None:
    async def use(archive: Archive, bucket: CountingBucket) -> None:
        uid = str(uuid.uuid4())
        first, second = (Cancelled(raw=job("training", uid), cancelled_at=at) for at in (5, 6))
        assert await archive.cancel("team-a", uid, first) == first
        assert await archive.cancel("team-a", uid, second) == first
        assert await archive.get("team-a", uid) == Kept(cancelled=first)
        await archive.put("team-a", uid, Record(raw=job("training", uid)))
        found = await archive.get("team-a", uid)
        assert found == Kept(record=Record(raw=job("training", uid)), cancelled=first)
        assert await archive.get("team-b", uid) is None
        assert await archive.namespaces() == ["team-a"]

    with_archive(server, use)


@pytest.mark.slow
@s3_server.needed
def test_a_list_reads_only_what_has_changed(server: S3Server) -> None:
    async def use(archive: Archive, bucket: CountingBucket) -> None:
        uids = [str(uuid.uuid4()) for _ in range(1000)]
        for first in range(0, 1000, 50):
            some = uids[first : first + 50]
            gone = {uid: Record(raw=trimmed(job("serving", uid)), deleted_at=DELETED_AT) for uid in some}
            await asyncio.gather(*(archive.put("many", uid, one) for uid, one in gone.items()))
        found = await archive.listed("many")
        assert found.keys() == set(uids)
        assert {one.job.status for one in found.values()} == {"succeeded"}
        bucket.reads = 0
        assert await archive.listed("many") == found
        assert bucket.reads == 0
        await archive.cancel("many", uids[0], Cancelled(raw=job("serving", uids[0]), cancelled_at=5))
        assert (await archive.listed("many"))[uids[0]].job.status == "cancelled"
        assert bucket.reads == 2
        assert (await archive.listed("many", but=set(uids[1:]))).keys() == {uids[0]}

    with_archive(server, use)


@s3_server.needed
def test_more_jobs_than_are_remembered_are_listed_too(server: S3Server) -> None:
    async def use(archive: Archive, bucket: CountingBucket) -> None:
        small = Archive(bucket, PLACES, most_told=3)
        uids = {str(uuid.uuid4()) for _ in range(7)}
        for uid in uids:
            await small.put("few", uid, Record(raw=job("serving", uid)))
        for _ in range(2):
            assert (await small.listed("few")).keys() == uids

    with_archive(server, use)


@s3_server.needed
def test_a_record_that_cannot_be_read_hides_no_other(server: S3Server) -> None:
    async def use(archive: Archive, bucket: CountingBucket) -> None:
        good, bad = str(uuid.uuid4()), str(uuid.uuid4())
        await archive.put("odd", good, Record(raw=job("serving", good)))
        for body in (b"", b"[]", b'{"raw": 1}'):
            await bucket.put(PLACES.job_record("odd", bad), body)
            assert (await archive.listed("odd")).keys() == {good}
            assert await archive.get("odd", bad) is None

    with_archive(server, use)


@s3_server.needed
def test_steps_of_all_attempts_are_merged_and_those_beyond_the_plan_left_out(server: S3Server) -> None:
    def step(number: int, at: float) -> Step:
        return Step(step=number, at=at, metrics={"train_loss": at})

    async def use(archive: Archive, bucket: CountingBucket) -> None:
        first = await archive.add_steps("team-a", UID, [step(n, n) for n in range(1, 51)])
        await archive.add_steps("team-a", UID, [step(n, 100 + n) for n in range(26, 31)])
        assert first.endswith("/steps/00000001-00000050.jsonl")
        found = await archive.steps("team-a", UID, total=40)
        assert found == [step(n, 100 + n if 26 <= n <= 30 else n) for n in range(1, 41)]
        bucket.reads = 0
        assert await archive.steps("team-a", UID, total=40) is found
        assert bucket.reads == 0
        await archive.drop_steps(first)
        assert [step.step for step in await archive.steps("team-a", UID, total=0)] == [26, 27, 28, 29, 30]
        assert await archive.steps("team-b", UID, total=0) == []

    with_archive(server, use)
