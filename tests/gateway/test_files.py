"""Files of clients in a real S3 endpoint: whole or not at all, and each namespace's own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import FileObject

from kubetune_gateway.files.digest import Tally
from kubetune_gateway.files.record import filename
from kubetune_gateway.files.store import FileStore
from kubetune_gateway.ids import file_id
from kubetune_gateway.store.bucket import PART_BYTES, Bucket, s3_client
from kubetune_gateway.store.places import Places
from kubetune_gateway.wire.errors import ApiError, unavailable
from tests.support import s3_server
from tests.support.s3_server import KEY, REGION, SECRET, S3Server

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
PLACES = Places("clients", "openai/")
A, B = file_id(b"a" * 16), file_id(b"b" * 16)
ROWS = b'{"messages": []}\n' * 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server.running(tmp_path_factory.mktemp("s3"), "clients") as found:
        yield found


def with_store(
    server: S3Server,
    use: Callable[[FileStore], Awaitable[Any]],
    *,
    places: Places = PLACES,
    limit: int = 2**30,
) -> Any:
    async def main() -> Any:
        async with s3_client(endpoint=server.url, region=REGION, key=KEY, secret=SECRET) as client:
            return await use(FileStore(Bucket(client, places.bucket), places, limit=limit))

    return asyncio.run(main())


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for first in range(0, len(data), size):
        yield data[first : first + size]


async def put(store: FileStore, id_: str, data: bytes, *, namespace: str = "team-a", **more: Any) -> Any:
    told: dict[str, Any] = {"name": "rows.jsonl", "purpose": "fine-tune", "now": NOW}
    return await store.put(namespace, id_, pieces(data, 1_000_000), **told | more)


async def read(store: FileStore, id_: str, *, namespace: str = "team-a") -> bytes:
    return b"".join([chunk async for chunk in await store.content(namespace, id_, now=NOW)])


def left(server: S3Server, namespace: str) -> list[Path]:
    folder = server.folder / "clients" / "openai" / namespace
    return [path for path in folder.rglob("*") if path.is_file()]


@s3_server.needed
def test_a_file_comes_back_byte_for_byte_and_is_told_of_as_the_client_expects(server: S3Server) -> None:
    data = ROWS * 400_000  # more than two parts

    async def use(store: FileStore) -> None:
        told = await put(store, A, data, namespace="whole", expires_after=3600)
        assert told.model_dump() == {
            "id": A,
            "object": "file",
            "bytes": len(data),
            "created_at": int(NOW.timestamp()),
            "expires_at": int(NOW.timestamp()) + 3600,
            "filename": "rows.jsonl",
            "purpose": "fine-tune",
            "status": "processed",
        }
        FileObject.model_validate(told.model_dump(), strict=True)
        kept = await store.get("whole", A, now=NOW)
        assert (kept.sha256, kept.lines) == (hashlib.sha256(data).hexdigest(), 1_200_000)
        assert await read(store, A, namespace="whole") == data

    assert len(data) > 2 * PART_BYTES
    with_store(server, use)


@s3_server.needed
def test_a_list_has_the_newest_first_and_nobody_elses(server: S3Server) -> None:
    async def use(store: FileStore) -> None:
        await put(store, A, ROWS, namespace="mine")
        await put(store, B, ROWS, namespace="mine", now=NOW + timedelta(seconds=1))
        await put(store, A, ROWS, namespace="mine-too")
        assert [kept.file.id for kept in await store.list("mine", now=NOW)] == [B, A]
        assert await store.list("nobodys", now=NOW) == []
        with pytest.raises(ApiError) as refused:
            await store.get("mine-too", B, now=NOW)
        assert refused.value.status == 404

    with_store(server, use)


@s3_server.needed
def test_a_file_that_is_deleted_or_has_expired_is_gone(server: S3Server) -> None:
    async def use(store: FileStore) -> None:
        await put(store, A, ROWS, namespace="gone")
        await put(store, B, ROWS, namespace="gone", expires_after=3600)
        await store.delete("gone", A, now=NOW)
        later = NOW + timedelta(hours=1)
        for id_ in (A, B):
            with pytest.raises(ApiError):
                await store.get("gone", id_, now=later)
        assert await store.list("gone", now=later) == []

    with_store(server, use)


@s3_server.needed
@pytest.mark.parametrize(("data", "code"), [(b"", "invalid_file"), (b"x" * 2001, "file_too_large")])
def test_what_is_refused_leaves_nothing(server: S3Server, data: bytes, code: str) -> None:
    async def use(store: FileStore) -> None:
        with pytest.raises(ApiError) as refused:
            await put(store, A, data, namespace="refused")
        assert refused.value.code == code

    with_store(server, use, limit=2000)
    assert left(server, "refused") == []


@s3_server.needed
def test_a_client_that_goes_away_leaves_nothing(server: S3Server) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * PART_BYTES
        raise ConnectionResetError

    async def use(store: FileStore) -> None:
        with pytest.raises(ConnectionResetError):
            await store.put("away", A, broken(), name=None, purpose="fine-tune", now=NOW)

    with_store(server, use)
    assert left(server, "away") == []


@s3_server.needed
def test_bytes_of_which_nobody_can_be_told_are_deleted(server: S3Server) -> None:
    class Full(Bucket):
        async def put(self, key: str, body: bytes, *, kind: str = "application/json") -> None:
            raise unavailable("The store of files")

    async def main() -> None:
        async with s3_client(endpoint=server.url, region=REGION, key=KEY, secret=SECRET) as client:
            with pytest.raises(ApiError):
                await put(FileStore(Full(client, PLACES.bucket), PLACES), A, ROWS, namespace="untold")

    asyncio.run(main())
    assert left(server, "untold") == []


@s3_server.needed
@pytest.mark.parametrize("id_", ["file-../../team-b/x", "file-", "content", "file-ä", "ftjob-a"])
def test_what_is_no_id_of_a_file_is_not_found(server: S3Server, id_: str) -> None:
    async def use(store: FileStore) -> None:
        with pytest.raises(ApiError) as refused:
            await store.get("team-a", id_, now=NOW)
        assert refused.value.status == 404

    with_store(server, use)


@s3_server.needed
def test_a_store_that_is_away_is_worth_another_try(server: S3Server) -> None:
    async def use(store: FileStore) -> None:
        with pytest.raises(ApiError) as refused:
            await put(store, A, ROWS)
        assert (refused.value.status, refused.value.retry_after) == (503, 5)

    with_store(server, use, places=Places("no-such-bucket"))


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b" \n", b"\r\n", b"{}\n"]), max_size=12))
def test_lines_are_counted_alike_however_the_bytes_come(chunks: list[bytes]) -> None:
    tally = Tally()
    for chunk in chunks:
        tally.add(chunk)
    data = b"".join(chunks)
    assert tally.examples == sum(bool(line.strip()) for line in data.split(b"\n"))
    assert (tally.bytes, tally.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("rows.jsonl", "rows.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\rows\\a.jsonl", "a.jsonl"),
        ("a\x1b[31m.jsonl", "a[31m.jsonl"),
        (None, "upload.jsonl"),
        ("", "upload.jsonl"),
    ],
)
def test_a_name_is_plain_and_has_no_folders(given_name: str | None, kept: str) -> None:
    assert filename(given_name) == kept
