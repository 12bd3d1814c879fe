"""Uploads in S3. How one has ended is written once, and whoever writes it first decides.

Two replicas may be asked to complete one upload at a time: the file's id says of which parts it is made, so
that neither writes over what the other has told of.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus

from ..files.record import Kept, filename, purpose_of
from ..files.store import FileStore, described
from ..ids import assembled_id, is_upload_id, part_id, upload_id
from ..store.bucket import Bucket
from ..store.places import Places
from ..wire.errors import ApiError, not_found
from .record import (
    LIFE_SECONDS,
    MAX_BYTES,
    MAX_PARTS,
    PART_BYTES,
    Begun,
    CompleteUpload,
    CreateUpload,
    Ended,
    Upload,
    UploadPart,
)


class UploadStore:
    """Uploads of all namespaces, in the bucket of the files."""

    def __init__(
        self, bucket: Bucket, places: Places, files: FileStore, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._bucket = bucket
        self._places = places
        self._files = files
        self._part_bytes = part_bytes

    async def begin(self, namespace: str, asked: CreateUpload, *, random: bytes, now: datetime) -> Upload:
        """Begin an upload."""
        after = asked.expires_after
        created = int(now.timestamp())
        upload = Upload(
            id=upload_id(random),
            bytes=asked.bytes,
            created_at=created,
            expires_at=created + LIFE_SECONDS,
            filename=filename(asked.filename),
            purpose=purpose_of(asked.purpose),
        )
        begun = Begun(upload=upload, expires_after=None if after is None else after.seconds)
        await self._bucket.put(self._record(namespace, upload.id), begun.model_dump_json().encode())
        return upload

    async def add(
        self, namespace: str, id_: str, chunks: AsyncIterator[bytes], *, random: bytes, now: datetime
    ) -> UploadPart:
        """Store a part. Raises ApiError where there is no such upload, or it takes no more."""
        begun = await self._pending(namespace, id_, now=now)
        parts = await self._parts(namespace, id_)
        # A part that was sent again, as its answer was lost, is there twice: twice the bytes are room enough.
        room = 2 * begun.upload.bytes - sum(parts.values())
        if len(parts) >= MAX_PARTS:
            raise _wrong(f"has {MAX_PARTS} parts: complete it, or begin another")
        part = UploadPart(id=part_id(random), created_at=int(now.timestamp()), upload_id=id_)
        await self._bucket.upload(self._part(namespace, id_, part.id), self._bounded(chunks, room))
        return part

    async def complete(self, namespace: str, id_: str, asked: CompleteUpload, *, now: datetime) -> Upload:
        """Make the file of these parts, and delete them. Asked for again, it is told again."""
        begun, ended = await self._state(namespace, id_)
        wanted = assembled_id(id_, asked.part_ids)
        if ended is None:
            kept = await self._assembled(namespace, begun, asked, wanted, now=now)
            if kept is not None:
                end = Ended(kept=kept).model_dump_json().encode()
                if not await self._bucket.put_once(self._end(namespace, id_), end):
                    await self._drop_unless_told(namespace, id_, wanted)
            ended = await self._ended(namespace, id_)
        if ended is None:
            raise _wrong("lost one of its parts: begin another")
        if ended.kept is None:
            raise _wrong("was cancelled: begin another")
        if ended.kept.file.id != wanted:
            raise _wrong("was completed with other parts")
        return await self._told(namespace, begun.upload, ended.kept)

    async def cancel(self, namespace: str, id_: str, *, now: datetime) -> Upload:
        """End an upload, and delete its parts. Cancelled again, it is told again."""
        begun, ended = await self._state(namespace, id_)
        if ended is None:
            if begun.has_expired(now):
                raise _wrong("has expired: begin another")
            await self._bucket.put_once(
                self._end(namespace, id_), Ended(kept=None).model_dump_json().encode()
            )
            ended = await self._ended(namespace, id_)
        if ended is not None and ended.kept is not None:
            raise _wrong("is completed: delete its file")
        await self._delete_parts(namespace, id_)
        return begun.upload.model_copy(update={"status": "cancelled"})

    async def _told(self, namespace: str, upload: Upload, kept: Kept) -> Upload:
        """Let there be the file of an upload that is completed, if that was not done yet."""
        key = self._places.record(namespace, kept.file.id)
        content = self._places.content(namespace, kept.file.id)
        is_there = [found async for found in self._bucket.keys(content) if found == content]
        if is_there:  # else the file was deleted meanwhile
            await self._bucket.put_once(key, kept.model_dump_json().encode())
        await self._delete_parts(namespace, upload.id)
        return upload.model_copy(update={"status": "completed", "file": kept.file})

    async def _assembled(
        self, namespace: str, begun: Begun, asked: CompleteUpload, file_id: str, *, now: datetime
    ) -> Kept | None:
        """Write the file's bytes; None where another replica has ended the upload meanwhile."""
        upload = begun.upload
        if begun.has_expired(now):
            raise _wrong("has expired: begin another")
        parts = await self._parts(namespace, upload.id)
        missing = [part for part in asked.part_ids if part not in parts]
        if missing and await self._ended(namespace, upload.id) is not None:
            return None
        if missing:
            raise _wrong(f"has no part {missing[0]}", param="part_ids")
        if len(set(asked.part_ids)) < len(asked.part_ids):
            raise _wrong("has each of its parts once, but one is in the list twice", param="part_ids")
        size = sum(parts[part] for part in asked.part_ids)
        if size != upload.bytes:
            raise _wrong(f"has {upload.bytes} bytes, but these parts have {size}", param="part_ids")
        rows = self._content(namespace, upload.id, asked)
        try:
            tally = await self._files.write(namespace, file_id, rows, limit=MAX_BYTES)
        except _GoneError:
            return None
        return described(
            tally,
            file_id,
            name=upload.filename,
            purpose=upload.purpose,
            now=now,
            expires_after=begun.expires_after,
        )

    async def _content(self, namespace: str, id_: str, asked: CompleteUpload) -> AsyncIterator[bytes]:
        """All parts in their order. Raises ApiError at the end where they are not what the client sent."""
        seen = hashlib.md5(usedforsecurity=False)
        for part in asked.part_ids:
            chunks = await self._bucket.stream(self._part(namespace, id_, part))
            if chunks is None:
                raise _GoneError
            async for chunk in chunks:
                seen.update(chunk)
                yield chunk
        told = (seen.hexdigest(), base64.b64encode(seen.digest()).decode())
        if asked.md5 is not None and asked.md5 not in told and asked.md5.lower() != told[0]:
            raise _wrong(f"has the MD5 {seen.hexdigest()}: upload it again", param="md5")

    async def _bounded(self, chunks: AsyncIterator[bytes], room: int) -> AsyncIterator[bytes]:
        """A part as it comes. Raises ApiError for what is empty or too large."""
        seen = 0
        async for chunk in chunks:
            seen += len(chunk)
            if seen > self._part_bytes:
                raise ApiError(
                    f"The part is larger than {self._part_bytes} bytes.",
                    status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    code="file_too_large",
                    param="data",
                )
            if seen > room:
                raise _wrong("has parts enough for more than its bytes: complete it, or begin another")
            yield chunk
        if not seen:
            raise ApiError("The part is empty.", code="invalid_file", param="data")

    async def _drop_unless_told(self, namespace: str, id_: str, file_id: str) -> None:
        """Delete the bytes of a file that somebody else's end of the upload does not tell of."""
        ended = await self._ended(namespace, id_)
        if ended is None or ended.kept is None or ended.kept.file.id != file_id:
            await self._files.drop(namespace, file_id)

    async def _pending(self, namespace: str, id_: str, *, now: datetime) -> Begun:
        begun, ended = await self._state(namespace, id_)
        if ended is not None:
            raise _wrong(
                "was cancelled: begin another" if ended.kept is None else "is completed: begin another"
            )
        if begun.has_expired(now):
            raise _wrong("has expired: begin another")
        return begun

    async def _state(self, namespace: str, id_: str) -> tuple[Begun, Ended | None]:
        """An upload, and how it has ended. Raises ApiError where there is none of this id."""
        body = await self._bucket.get(self._record(namespace, id_)) if is_upload_id(id_) else None
        if body is None:
            raise not_found("upload", id_)
        return Begun.model_validate_json(body), await self._ended(namespace, id_)

    async def _ended(self, namespace: str, id_: str) -> Ended | None:
        body = await self._bucket.get(self._end(namespace, id_))
        return None if body is None else Ended.model_validate_json(body)

    async def _parts(self, namespace: str, id_: str) -> dict[str, int]:
        """Bytes of all parts by their ids."""
        folder = self._part(namespace, id_, "")
        return {found.key.removeprefix(folder): found.bytes async for found in self._bucket.objects(folder)}

    async def _delete_parts(self, namespace: str, id_: str) -> None:
        folder = self._part(namespace, id_, "")
        await self._bucket.delete(*[key async for key in self._bucket.keys(folder)])

    def _record(self, namespace: str, id_: str) -> str:
        return f"{self._places.upload(namespace, id_)}record.json"

    def _end(self, namespace: str, id_: str) -> str:
        return f"{self._places.upload(namespace, id_)}end.json"

    def _part(self, namespace: str, id_: str, part: str) -> str:
        return f"{self._places.upload(namespace, id_)}parts/{part}"


class _GoneError(Exception):
    """A part is not there any more: somebody else has ended the upload."""


def _wrong(why: str, *, param: str = "upload_id") -> ApiError:
    return ApiError(f"The upload {why}.", code="invalid_upload", param=param)
