"""A bucket as the rooms use it: small records, streams of bytes, and one answer to all of S3's faults."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.utils import parse_timestamp

from ..wire.errors import unavailable

PART_BYTES: Final = 8 * 1024**2
"""Of one part of an upload to S3, and about what an upload holds in memory; S3 takes no smaller ones."""

_AT_ONCE: Final = 32
"""Records that are read at a time."""

_CONFIG: Final = AioConfig(
    # Clients wait, and try again by themselves: they are told soon that S3 is away.
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 3},
    # Every file that is read or written holds a connection for as long.
    max_pool_connections=256,
)

_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchUpload", "404"})
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as lists have it."""

    key: str
    bytes: int
    changed: datetime
    etag: str
    """Another one for other bytes."""


class Bucket:
    """One bucket. ``client`` is that of S3, which aiobotocore makes.

    All methods raise ApiError with 503 where S3 does not answer, or not as it should: clients try again.
    ``failed`` is called then.
    """

    def __init__(self, client: Any, name: str, *, failed: Callable[[], object] = lambda: None) -> None:
        self._client = client
        self._failed = failed
        self.name = name

    async def get(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        async with self._answers():
            try:
                found = await self._client.get_object(Bucket=self.name, Key=key)
                body: bytes = await found["Body"].read()
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return body

    async def get_all(self, keys: Iterable[str]) -> list[bytes]:
        """Small objects, in the order of their keys; those that went away meanwhile are left out."""
        wanted, found = list(keys), []
        for first in range(0, len(wanted), _AT_ONCE):
            found += await asyncio.gather(*map(self.get, wanted[first : first + _AT_ONCE]))
        return [body for body in found if body is not None]

    async def put(self, key: str, body: bytes, *, kind: str = "application/json") -> None:
        """Write a small object."""
        async with self._answers():
            await self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=kind)

    async def put_once(self, key: str, body: bytes, *, kind: str = "application/json") -> bool:
        """Write a small object unless there is one; False where there was."""
        async with self._answers():
            try:
                await self._client.put_object(
                    Bucket=self.name, Key=key, Body=body, ContentType=kind, IfNoneMatch="*"
                )
            except ClientError as error:
                if _code(error) in _TAKEN:
                    return False
                raise
        return True

    async def delete(self, *keys: str) -> None:
        """Delete objects, one after the other; those that are not there do not matter."""
        async with self._answers():
            for key in keys:
                await self._client.delete_object(Bucket=self.name, Key=key)

    async def keys(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Keys that begin so, in the order of their bytes, those after a key."""
        async for found in self.objects(prefix, after=after):
            yield found.key

    async def objects(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """Objects whose keys begin so, in the order of the bytes of these, those after a key."""
        async with self._answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, StartAfter=after
            )
            async for page in pages:
                for item in page.get("Contents", ()):
                    yield Listed(item["Key"], item["Size"], item["LastModified"], item["ETag"])

    async def folders(self, prefix: str) -> list[str]:
        """Beginnings of keys after this one up to the next slash, which they end with."""
        async with self._answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            return [item["Prefix"] async for page in pages for item in page.get("CommonPrefixes", ())]

    async def abort_uploads(self, prefix: str, *, before: datetime, chosen: Callable[[str], bool]) -> int:
        """Take back what was begun before then and is not finished, of chosen keys; return how many."""
        async with self._answers():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.name, Prefix=prefix
            )
            begun = [
                (item["Key"], item["UploadId"])
                async for page in pages
                for item in page.get("Uploads", ())
                if item["Initiated"] < before and chosen(item["Key"])
            ]
        for key, upload in begun:
            await self._abort(key, upload)
        return len(begun)

    async def stream(self, key: str) -> AsyncIterator[bytes] | None:
        """An object's bytes, piece by piece; None where there is none."""
        async with self._answers():
            try:
                found = await self._client.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return self._pieces(found["Body"])

    async def upload(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what comes, of any size, part by part; what was begun and not finished is taken back.

        What ``chunks`` raises is raised, and nothing is left then.
        """
        where = {"Bucket": self.name, "Key": key}
        async with self._answers():
            begun = (await self._client.create_multipart_upload(**where))["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            async for part in _parts(chunks):
                number = len(parts) + 1
                async with self._answers():
                    answer = await self._client.upload_part(
                        **where, UploadId=begun, PartNumber=number, Body=part
                    )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            async with self._answers():
                await self._client.complete_multipart_upload(
                    **where, UploadId=begun, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            await asyncio.shield(self._abort(key, begun))
            raise

    async def _abort(self, key: str, upload: str) -> None:
        """Take back what was begun; where that fails too, `abort_uploads` does it later."""
        try:
            await self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)
        except (BotoCoreError, ClientError, OSError, TimeoutError) as error:
            if not (isinstance(error, ClientError) and _code(error) in _ABSENT):
                _log.warning("an upload was not taken back", extra={"key": key, "error": str(error)})

    async def _pieces(self, body: Any) -> AsyncIterator[bytes]:
        async with self._answers(), body:  # whose reader may go away: then its connection is closed
            async for piece in body.iter_chunks(2**20):
                yield piece

    @asynccontextmanager
    async def _answers(self) -> AsyncIterator[None]:
        """Turn S3's silence and faults into an answer that clients try again after."""
        try:
            yield
        except (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failed()
            raise unavailable("The store of files") from error


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What comes in pieces of any size, in pieces that S3 takes; only the last one is smaller."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART_BYTES:
            with memoryview(waiting) as view:
                part = bytes(view[:PART_BYTES])
            del waiting[:PART_BYTES]
            yield part
    if waiting:
        yield bytes(waiting)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))


@asynccontextmanager
async def s3_client(
    *, endpoint: str | None, region: str | None, key: str | None = None, secret: str | None = None
) -> AsyncIterator[Any]:
    """A client of S3, or of what speaks its protocol; without a key, by what the environment has."""
    session = get_session()
    # A list of a thousand keys takes a third of the time: botocore's own parser tries all that it knows.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    async with session.create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=_CONFIG,
    ) as client:
        yield client


def _time(value: Any) -> datetime:
    """A time as lists have it, else as headers do."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        parsed: datetime = parse_timestamp(value)
        return parsed
