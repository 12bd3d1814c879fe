"""A bucket as the rooms use it: small records, streams of bytes, and one answer to all of S3's faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from ..wire.errors import unavailable

PART_BYTES: Final = 8 * 1024**2
"""Of one part of an upload to S3, and about what an upload holds in memory; S3 takes no smaller ones."""

_AT_ONCE: Final = 32
"""Records that are read at a time."""

_ABSENT: Final = frozenset({"NoSuchKey", "404"})
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class Bucket:
    """One bucket. ``client`` is that of S3, which aiobotocore makes.

    All methods raise ApiError with 503 where S3 does not answer, or not as it should: clients try again.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    async def get(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        async with _answers():
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
        async with _answers():
            await self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=kind)

    async def put_once(self, key: str, body: bytes, *, kind: str = "application/json") -> bool:
        """Write a small object unless there is one; False where there was."""
        async with _answers():
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
        async with _answers():
            for key in keys:
                await self._client.delete_object(Bucket=self.name, Key=key)

    async def keys(self, prefix: str, *, after: str = "") -> AsyncIterator[str]:
        """Keys that begin so, in the order of their bytes, those after a key."""
        async with _answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, StartAfter=after
            )
            async for page in pages:
                for item in page.get("Contents", ()):
                    yield item["Key"]

    async def stream(self, key: str) -> AsyncIterator[bytes] | None:
        """An object's bytes, piece by piece; None where there is none."""
        async with _answers():
            try:
                found = await self._client.get_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return _pieces(found["Body"])

    async def upload(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store what comes, of any size, part by part; what was begun and not finished is taken back.

        What ``chunks`` raises is raised, and nothing is left then.
        """
        where = {"Bucket": self.name, "Key": key}
        async with _answers():
            begun = (await self._client.create_multipart_upload(**where))["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            async for part in _parts(chunks):
                number = len(parts) + 1
                async with _answers():
                    answer = await self._client.upload_part(
                        **where, UploadId=begun, PartNumber=number, Body=part
                    )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            async with _answers():
                await self._client.complete_multipart_upload(
                    **where, UploadId=begun, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            await asyncio.shield(self._client.abort_multipart_upload(**where, UploadId=begun))
            raise


async def _pieces(body: Any) -> AsyncIterator[bytes]:
    async with _answers():
        async for piece in body.iter_chunks(2**20):
            yield piece


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What comes in pieces of any size, in pieces that S3 takes; only the last one is smaller."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PART_BYTES:
            yield bytes(waiting[:PART_BYTES])
            del waiting[:PART_BYTES]
    if waiting:
        yield bytes(waiting)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    """Turn S3's silence and faults into an answer that clients try again after."""
    try:
        yield
    except (BotoCoreError, ClientError, OSError, TimeoutError) as error:
        raise unavailable("The store of files") from error


@asynccontextmanager
async def s3_client(
    *, endpoint: str | None, region: str | None, key: str | None = None, secret: str | None = None
) -> AsyncIterator[Any]:
    """A client of S3, or of what speaks its protocol; without a key, by what the environment has."""
    async with get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    ) as client:
        yield client
