"""Files in S3. A file exists once its record is written: nothing is told of half of one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from ..ids import is_file_id
from ..wire.errors import ApiError, not_found, unavailable
from .digest import Tally
from .places import Places
from .record import MAX_BYTES, File, Kept, Purpose, filename

PART_BYTES: Final = 8 * 1024**2
"""Of one part of an upload to S3, and about what an upload holds in memory; S3 takes no smaller ones."""

_AT_ONCE: Final = 32
"""Records that are read at a time for a list."""


class FileStore:
    """Files of all namespaces, in one bucket. ``client`` is that of S3, which aiobotocore makes."""

    def __init__(self, client: Any, places: Places, *, limit: int = MAX_BYTES) -> None:
        self._client = client
        self._places = places
        self._limit = limit

    async def put(
        self,
        namespace: str,
        id_: str,
        chunks: AsyncIterator[bytes],
        *,
        name: str | None,
        purpose: Purpose,
        now: datetime,
        expires_after: int | None = None,
    ) -> File:
        """Store what comes, and return what is told of it.

        Raises ApiError when it is empty or larger than allowed, or S3 does not take it; then nothing is left.
        """
        tally = Tally()
        async with _answers():
            await self._upload(self._places.content(namespace, id_), chunks, tally)
        created = int(now.timestamp())
        file = File(
            id=id_,
            bytes=tally.bytes,
            created_at=created,
            expires_at=None if expires_after is None else created + expires_after,
            filename=filename(name),
            purpose=purpose,
        )
        kept = Kept(file=file, sha256=tally.sha256, lines=tally.examples)
        async with _answers():
            await self._client.put_object(
                Bucket=self._places.bucket,
                Key=self._places.record(namespace, id_),
                Body=kept.model_dump_json().encode(),
                ContentType="application/json",
            )
        return file

    async def get(self, namespace: str, id_: str, *, now: datetime) -> Kept:
        """What is kept of a file. Raises ApiError where there is none of this id in the namespace."""
        if not is_file_id(id_):
            raise not_found("file", id_)
        kept = await self._record(self._places.record(namespace, id_))
        if kept is None or kept.has_expired(now):
            raise not_found("file", id_)
        return kept

    async def list(self, namespace: str, *, now: datetime) -> list[Kept]:
        """All files of a namespace, the newest first."""
        keys = [
            key async for key in self._keys(self._places.folder(namespace)) if key.endswith("/record.json")
        ]
        found: list[Kept | None] = []
        for first in range(0, len(keys), _AT_ONCE):
            found += await asyncio.gather(*map(self._record, keys[first : first + _AT_ONCE]))
        present = [kept for kept in found if kept is not None and not kept.has_expired(now)]
        return sorted(present, key=lambda kept: (kept.file.created_at, kept.file.id), reverse=True)

    async def content(self, namespace: str, id_: str, *, now: datetime) -> AsyncIterator[bytes]:
        """A file's bytes. Raises ApiError where there is none of this id in the namespace."""
        await self.get(namespace, id_, now=now)
        async with _answers():
            found = await self._client.get_object(
                Bucket=self._places.bucket, Key=self._places.content(namespace, id_)
            )
        return found["Body"].iter_chunks(PART_BYTES)  # type: ignore[no-any-return]

    async def delete(self, namespace: str, id_: str, *, now: datetime) -> None:
        """Delete a file, its record first. Raises ApiError where there is none."""
        await self.get(namespace, id_, now=now)
        async with _answers():
            for key in (self._places.record(namespace, id_), self._places.content(namespace, id_)):
                await self._client.delete_object(Bucket=self._places.bucket, Key=key)

    async def _record(self, key: str) -> Kept | None:
        try:
            async with _answers():
                found = await self._client.get_object(Bucket=self._places.bucket, Key=key)
                return Kept.model_validate(json.loads(await found["Body"].read()))
        except KeyError:
            return None

    async def _keys(self, prefix: str) -> AsyncIterator[str]:
        async with _answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._places.bucket, Prefix=prefix
            )
            async for page in pages:
                for item in page.get("Contents", ()):
                    yield item["Key"]

    async def _upload(self, key: str, chunks: AsyncIterator[bytes], tally: Tally) -> None:
        """Store what comes, part by part; what was begun and not finished is taken back."""
        where = {"Bucket": self._places.bucket, "Key": key}
        upload = (await self._client.create_multipart_upload(**where))["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            async for part in _parts(chunks):
                tally.add(part)
                if tally.bytes > self._limit:
                    raise ApiError(
                        f"The file is larger than {self._limit} bytes: upload it in parts, or split it.",
                        code="file_too_large",
                        param="file",
                    )
                number = len(parts) + 1
                answer = await self._client.upload_part(
                    **where, UploadId=upload, PartNumber=number, Body=part
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            if not tally.bytes:
                raise ApiError("The file is empty.", code="invalid_file", param="file")
            await self._client.complete_multipart_upload(
                **where, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            await asyncio.shield(self._client.abort_multipart_upload(**where, UploadId=upload))
            raise


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


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    """Turn S3's silence and faults into an answer that clients try again after; KeyError: no such object."""
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
            raise KeyError from None
        raise unavailable("The store of files") from error
    except (BotoCoreError, OSError, TimeoutError) as error:
        raise unavailable("The store of files") from error


@asynccontextmanager
async def s3_client(*, endpoint: str | None, region: str, key: str, secret: str) -> AsyncIterator[Any]:
    """A client of S3, or of what speaks its protocol."""
    async with get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    ) as client:
        yield client
