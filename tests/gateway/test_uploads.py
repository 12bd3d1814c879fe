"""Files that come in parts: with OpenAI's client, and over two replicas that know nothing of each other."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import pytest

from kubetune_gateway.files.store import FileStore
from kubetune_gateway.ids import file_id, part_id, upload_id
from kubetune_gateway.store.bucket import PART_BYTES, Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.uploads.expiry import expire
from kubetune_gateway.uploads.record import CompleteUpload, CreateUpload
from kubetune_gateway.uploads.store import UploadStore
from kubetune_gateway.wire.errors import ApiError
from tests.support import openai_gateway, s3_server
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

pytestmark = [s3_server.needed, pytest.mark.slow]

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 40_000


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as found:
        yield found


@pytest.fixture(scope="module")
def url(s3: S3Server) -> Iterator[str]:
    with openai_gateway.running(s3) as found:
        yield found.url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=url, api_key="token-of-team-a", max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


def begun(client: openai.OpenAI, size: int, **more: Any) -> str:
    told: dict[str, Any] = {"purpose": "fine-tune", "filename": "rows.jsonl", "mime_type": "text/jsonl"}
    return client.uploads.create(bytes=size, **told | more).id


def test_a_client_uploads_a_file_in_parts_by_itself(
    client: openai.OpenAI, s3: S3Server, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    upload = client.uploads.upload_file_chunked(
        file=path,
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=2**20,
        md5=hashlib.md5(ROWS).hexdigest(),
    )
    assert (upload.status, upload.filename, upload.bytes) == ("completed", "rows.jsonl", len(ROWS))
    assert upload.file is not None
    assert client.files.retrieve(upload.file.id) == upload.file
    assert client.files.content(upload.file.id).read() == ROWS
    assert not list((s3.folder / "clients" / "team-a" / "uploads" / upload.id).rglob("part_*"))


async def test_the_asynchronous_client_does_too(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="token-of-team-a", max_retries=0) as client:
        upload = await client.uploads.upload_file_chunked(
            file=ROWS, filename="a.jsonl", bytes=len(ROWS), mime_type="", purpose="fine-tune", part_size=10**6
        )
        assert upload.file is not None
        assert (await client.files.content(upload.file.id)).read() == ROWS


def test_parts_are_put_in_the_order_of_the_list_and_others_left_out(client: openai.OpenAI) -> None:
    id_ = begun(client, 9, expires_after={"anchor": "created_at", "seconds": 3600})
    last, _, first = (
        client.uploads.parts.create(id_, data=data).id for data in (b"rows\n", b"lost", b"two\n")
    )
    upload = client.uploads.complete(id_, part_ids=[first, last])
    assert upload.file is not None
    assert client.files.content(upload.file.id).read() == b"two\nrows\n"
    assert upload.file.expires_at == upload.file.created_at + 3600
    assert client.uploads.complete(id_, part_ids=[first, last]) == upload
    for refused in (
        lambda: client.uploads.complete(id_, part_ids=[last, first]),
        lambda: client.uploads.parts.create(id_, data=b"more"),
        lambda: client.uploads.cancel(id_),
    ):
        with pytest.raises(openai.BadRequestError, match="completed"):
            refused()


def test_a_file_that_was_deleted_does_not_come_back(client: openai.OpenAI) -> None:
    id_ = begun(client, 4)
    part = client.uploads.parts.create(id_, data=b"rows").id
    upload = client.uploads.complete(id_, part_ids=[part])
    assert upload.file is not None
    client.files.delete(upload.file.id)
    assert client.uploads.complete(id_, part_ids=[part]).file == upload.file
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(upload.file.id)


def test_what_is_cancelled_takes_nothing_more(client: openai.OpenAI) -> None:
    id_ = begun(client, 4)
    part = client.uploads.parts.create(id_, data=b"rows").id
    assert client.uploads.cancel(id_).status == "cancelled"
    assert client.uploads.cancel(id_).status == "cancelled"
    for refused in (
        lambda: client.uploads.complete(id_, part_ids=[part]),
        lambda: client.uploads.parts.create(id_, data=b"more"),
    ):
        with pytest.raises(openai.BadRequestError, match="was cancelled"):
            refused()


def test_parts_that_are_not_the_file_can_be_made_good(client: openai.OpenAI) -> None:
    id_ = begun(client, 8)
    parts = [client.uploads.parts.create(id_, data=data).id for data in (b"rows", b"sown")]
    told: dict[str, Any]
    for told, param in (
        ({"part_ids": parts[:1]}, "part_ids"),
        ({"part_ids": [*parts, part_id(b"x" * 16)]}, "part_ids"),
        ({"part_ids": parts[:1] * 2}, "part_ids"),
        ({"part_ids": ["../record.json"]}, "part_ids"),
        ({"part_ids": []}, "part_ids"),
        ({"part_ids": parts, "md5": "0" * 32}, "md5"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.uploads.complete(id_, **told)
        assert refused.value.param == param
    with pytest.raises(openai.BadRequestError, match="parts enough"):
        client.uploads.parts.create(id_, data=b"x" * 9)
    digest = base64.b64encode(hashlib.md5(b"sownrows").digest()).decode()
    assert client.uploads.complete(id_, part_ids=parts[::-1], md5=digest).status == "completed"


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({"purpose": "batch"}, "purpose"),
        ({"bytes": 8 * 2**30 + 1}, "bytes"),
        ({"bytes": 0}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
    ],
)
def test_what_cannot_be_uploaded_is_refused_at_once(client: openai.OpenAI, told: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        begun(client, **{"size": 8, **told} if "bytes" not in told else {"size": told["bytes"]})
    assert refused.value.param == param


def test_nobody_gives_parts_to_what_is_anothers(client: openai.OpenAI, url: str) -> None:
    id_ = begun(client, 4)
    with openai.OpenAI(base_url=url, api_key="token-of-team-b", max_retries=0) as other:
        for refused in (
            lambda: other.uploads.parts.create(id_, data=b"rows"),
            lambda: other.uploads.complete(id_, part_ids=["a"]),
            lambda: other.uploads.cancel(id_),
            lambda: other.uploads.cancel("upload_a"),
        ):
            with pytest.raises(openai.NotFoundError):
                refused()


# Two replicas: two stores over one bucket.

Use = Callable[[Bucket, Places, UploadStore, FileStore], Awaitable[Any]]


def with_store(s3: S3Server, use: Use, prefix: str) -> Any:
    async def main() -> Any:
        async with s3_client(endpoint=s3.url, region=REGION, key=KEY, secret=SECRET) as client:
            bucket, places = Bucket(client, "clients"), Places("clients", prefix)
            files = FileStore(bucket, places)
            return await use(bucket, places, UploadStore(bucket, places, files), files)

    return asyncio.run(main())


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def two_parts(store: UploadStore, data: bytes = b"rows") -> tuple[str, list[str]]:
    asked = CreateUpload(filename="a", purpose="fine-tune", bytes=2 * len(data), mime_type="")
    id_ = (await store.begin("team-a", asked, random=b"u" * 16, now=NOW)).id
    parts = [
        (await store.add("team-a", id_, pieces(data), random=letter * 16, now=NOW)).id
        for letter in (b"a", b"b")
    ]
    return id_, parts


def test_of_two_that_complete_one_upload_alike_both_tell_of_one_file(s3: S3Server) -> None:
    async def use(bucket: Bucket, places: Places, store: UploadStore, files: FileStore) -> None:
        id_, parts = await two_parts(store, b"r" * PART_BYTES)
        asked = CompleteUpload(part_ids=parts)
        one, two = await asyncio.gather(*[store.complete("team-a", id_, asked, now=NOW) for _ in range(2)])
        assert one == two
        assert [kept.file for kept in await files.list("team-a", now=NOW)] == [one.file]

    with_store(s3, use, "alike/")


def test_of_two_that_complete_one_upload_differently_one_is_refused(s3: S3Server) -> None:
    async def use(bucket: Bucket, places: Places, store: UploadStore, files: FileStore) -> None:
        id_, parts = await two_parts(store)
        found = await asyncio.gather(
            *[
                store.complete("team-a", id_, CompleteUpload(part_ids=order), now=NOW)
                for order in (parts, parts[::-1])
            ],
            return_exceptions=True,
        )
        [won] = [one for one in found if not isinstance(one, BaseException)]
        [lost] = [one for one in found if isinstance(one, ApiError)]
        assert lost.status == 400
        assert [kept.file for kept in await files.list("team-a", now=NOW)] == [won.file]
        keys = [key async for key in bucket.keys("differently/team-a/files/")]
        assert len(keys) == 2

    with_store(s3, use, "differently/")


def test_what_a_replica_left_when_it_was_killed_is_made_good_by_the_next_try(s3: S3Server) -> None:
    async def use(bucket: Bucket, places: Places, store: UploadStore, files: FileStore) -> None:
        id_, parts = await two_parts(store)
        asked = CompleteUpload(part_ids=parts)
        told = await store.complete("team-a", id_, asked, now=NOW)
        assert told.file is not None
        await bucket.delete(places.record("team-a", told.file.id))  # as if it had not come to that
        assert await store.complete("team-a", id_, asked, now=NOW + timedelta(hours=2)) == told
        assert (await files.get("team-a", told.file.id, now=NOW)).file == told.file

    with_store(s3, use, "killed/")


def test_an_upload_takes_nothing_after_an_hour(s3: S3Server) -> None:
    async def use(bucket: Bucket, places: Places, store: UploadStore, files: FileStore) -> None:
        id_, parts = await two_parts(store)
        later = NOW + timedelta(hours=1)
        for refused in (
            store.add("team-a", id_, pieces(b"rows"), random=b"c" * 16, now=later),
            store.complete("team-a", id_, CompleteUpload(part_ids=parts), now=later),
            store.cancel("team-a", id_, now=later),
        ):
            with pytest.raises(ApiError, match="has expired"):
                await refused

    with_store(s3, use, "late/")


def test_what_has_expired_or_was_abandoned_is_deleted_and_nothing_else(s3: S3Server) -> None:
    """Times of objects are those of S3: days are added to today."""
    today = datetime.now(UTC)

    async def use(bucket: Bucket, places: Places, store: UploadStore, files: FileStore) -> None:
        stays, goes, half = (file_id(letter * 16) for letter in (b"s", b"g", b"h"))
        told: dict[str, Any] = {"name": "a", "purpose": "fine-tune", "now": today}
        await files.put("team-a", stays, pieces(b"rows"), **told)
        await files.put("team-b", goes, pieces(b"rows"), **told, expires_after=3600)
        await files.write("team-a", half, pieces(b"rows"))
        asked = CreateUpload(filename="a", purpose="fine-tune", bytes=8, mime_type="")
        id_ = (await store.begin("team-a", asked, random=b"u" * 16, now=today)).id
        await store.add("team-a", id_, pieces(b"rows"), random=b"p" * 16, now=today)
        lost = f"{places.upload('team-b', upload_id(b'l' * 16))}parts/{part_id(b'l' * 16)}"
        for key in (lost, "expiry/_keys/a.json", "expiry/models/files/model/content", "expiry/team-a/jobs/x"):
            await bucket.put(key, b"x")
        for key in (places.content("gone", file_id(b"n" * 16)), "expiry/models/weights"):
            await bucket._client.create_multipart_upload(Bucket="clients", Key=key)

        async def keys() -> set[str]:
            return {key.removeprefix("expiry/") async for key in bucket.keys("expiry/")}

        all_of_it = await keys()
        assert await expire(bucket, places, today) == 0
        assert await keys() == all_of_it
        assert await expire(bucket, places, today + timedelta(hours=2, seconds=1)) == 4
        rest = {
            "_keys/a.json",
            "models/files/model/content",
            "team-a/jobs/x",
            f"team-a/files/{stays}/content.jsonl",
            f"team-a/files/{stays}/record.json",
        }
        abandoned = {f"team-a/files/{half}/content.jsonl", lost.removeprefix("expiry/")}
        assert await keys() == rest | abandoned
        assert await expire(bucket, places, today + timedelta(days=1, minutes=1)) == 3
        assert await keys() == rest
        left = await bucket._client.list_multipart_uploads(Bucket="clients", Prefix="expiry/")
        assert [one["Key"] for one in left["Uploads"]] == ["expiry/models/weights"]

    with_store(s3, use, "expiry/")
