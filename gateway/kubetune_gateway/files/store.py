"""Files in S3. A file exists once its record is written: nothing is told of half of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

from ..ids import is_file_id
from ..store.bucket import Bucket
from ..store.places import Places
from ..wire.errors import ApiError, not_found, too_large
from .digest import Tally
from .record import MAX_BYTES, File, Kept, Purpose, filename


class FileStore:
    """Files of all namespaces, in one bucket."""

    def __init__(self, bucket: Bucket, places: Places, *, limit: int = MAX_BYTES) -> None:
        self._bucket = bucket
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
        tally = await self.write(namespace, id_, chunks)
        kept = described(tally, id_, name=name, purpose=purpose, now=now, expires_after=expires_after)
        return await self.tell(namespace, kept)

    async def write(
        self, namespace: str, id_: str, chunks: AsyncIterator[bytes], *, limit: int | None = None
    ) -> Tally:
        """Store the bytes of a file that nobody is told of yet. Raises ApiError as `put` does."""
        tally = Tally()
        counted = _counted(chunks, tally, limit=self._limit if limit is None else limit)
        await self._bucket.upload(self._places.content(namespace, id_), counted)
        return tally

    async def tell(self, namespace: str, kept: Kept) -> File:
        """Let there be a file whose bytes were written; where that fails, they are deleted."""
        id_ = kept.file.id
        try:
            await self._bucket.put(self._places.record(namespace, id_), kept.model_dump_json().encode())
        except BaseException:
            with suppress(ApiError):
                await asyncio.shield(self.drop(namespace, id_))
            raise
        return kept.file

    async def drop(self, namespace: str, id_: str) -> None:
        """Delete a file or what there is of one, its record first: no record is without its bytes."""
        await self._bucket.delete(self._places.record(namespace, id_), self._places.content(namespace, id_))

    async def get(self, namespace: str, id_: str, *, now: datetime) -> Kept:
        """What is kept of a file. Raises ApiError where there is none of this id in the namespace."""
        body = await self._bucket.get(self._places.record(namespace, id_)) if is_file_id(id_) else None
        kept = None if body is None else Kept.model_validate_json(body)
        if kept is None or kept.has_expired(now):
            raise not_found("file", id_)
        return kept

    async def list(self, namespace: str, *, now: datetime) -> list[Kept]:
        """All files of a namespace, the newest first."""
        folder = self._places.folder(namespace)
        records = [key async for key in self._bucket.keys(folder) if key.endswith("/record.json")]
        found = map(Kept.model_validate_json, await self._bucket.get_all(records))
        present = [kept for kept in found if not kept.has_expired(now)]
        return sorted(present, key=lambda kept: (kept.file.created_at, kept.file.id), reverse=True)

    async def content(self, namespace: str, id_: str, *, now: datetime) -> AsyncIterator[bytes]:
        """A file's bytes. Raises ApiError where there is none of this id in the namespace."""
        await self.get(namespace, id_, now=now)
        found = await self._bucket.stream(self._places.content(namespace, id_))
        if found is None:
            raise not_found("file", id_)
        return found

    async def delete(self, namespace: str, id_: str, *, now: datetime) -> None:
        """Delete a file. Raises ApiError where there is none."""
        await self.get(namespace, id_, now=now)
        await self.drop(namespace, id_)


def described(
    tally: Tally,
    id_: str,
    *,
    name: str | None,
    purpose: Purpose,
    now: datetime,
    expires_after: int | None = None,
) -> Kept:
    """What is kept of a file whose bytes were counted."""
    created = int(now.timestamp())
    file = File(
        id=id_,
        bytes=tally.bytes,
        created_at=created,
        expires_at=None if expires_after is None else created + expires_after,
        filename=filename(name),
        purpose=purpose,
    )
    return Kept(file=file, sha256=tally.sha256, lines=tally.examples)


async def _counted(chunks: AsyncIterator[bytes], tally: Tally, *, limit: int) -> AsyncIterator[bytes]:
    """What comes, counted. Raises ApiError for what is empty or too large."""
    async for chunk in chunks:
        tally.add(chunk)
        if tally.bytes > limit:
            raise too_large(limit)
        yield chunk
    if not tally.bytes:
        raise ApiError("The file is empty.", code="invalid_file", param="file")
