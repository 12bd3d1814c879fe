"""/files: uploaded, listed, read and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from ..contracts import Caller, Means
from ..files.record import File, Purpose
from ..ids import file_id
from ..store.bucket import PART_BYTES
from ..wire.errors import ApiError
from ..wire.pages import page
from .requests import Needs, may

router = APIRouter()

Reader = Annotated[Caller, may("get", "finetunejobs/files")]
Lister = Annotated[Caller, may("list", "finetunejobs/files")]
Writer = Annotated[Caller, may("create", "finetunejobs/files")]
Deleter = Annotated[Caller, may("delete", "finetunejobs/files")]

EXPIRES: Final = range(3600, 2_592_001)
"""Seconds after which a client may have a file deleted."""


@router.post("/files")
async def upload(request: Request, means: Needs, who: Writer) -> dict[str, Any]:
    """Store a file."""
    try:
        async with request.form(max_files=1, max_fields=20) as form:
            return (await _stored(form, means, who)).model_dump(mode="json")
    except HTTPException as error:
        raise ApiError(
            f"The body is no multipart form: {error.detail}", code="invalid_body", param="file"
        ) from None


@router.get("/files")
async def listing(
    means: Needs,
    who: Lister,
    purpose: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=0, le=10_000)] = 10_000,
    order: str = "desc",
) -> dict[str, Any]:
    """All files, the newest first."""
    kept = await means.files.list(who.namespace, now=means.now())
    files = [one.file for one in kept if purpose in (None, one.file.purpose)]
    return page(files if order == "desc" else files[::-1], after=after, limit=limit)


@router.get("/files/{id_}")
async def retrieve(id_: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One file."""
    return (await means.files.get(who.namespace, id_, now=means.now())).file.model_dump(mode="json")


@router.get("/files/{id_}/content")
async def content(id_: str, means: Needs, who: Reader) -> StreamingResponse:
    """Its bytes."""
    chunks = await means.files.content(who.namespace, id_, now=means.now())
    return StreamingResponse(chunks, media_type="application/octet-stream")


@router.delete("/files/{id_}")
async def delete(id_: str, means: Needs, who: Deleter) -> dict[str, Any]:
    """Delete it."""
    await means.files.delete(who.namespace, id_, now=means.now())
    return {"id": id_, "object": "file", "deleted": True}


async def _stored(form: FormData, means: Means, who: Caller) -> File:
    given = form.get("file")
    if not isinstance(given, UploadFile):
        raise ApiError("The form has no file: send it as `file`.", code="missing_file", param="file")
    return await means.files.put(
        who.namespace,
        file_id(means.random(16)),
        _chunks(given),
        name=given.filename,
        purpose=_purpose(form),
        now=means.now(),
        expires_after=_expires_after(form),
    )


async def _chunks(given: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await given.read(PART_BYTES):
        yield chunk


def _purpose(form: FormData) -> Purpose:
    if form.get("purpose") != "fine-tune":
        known = " or ".join(get_args(Purpose))
        raise ApiError(
            f"A file for fine-tuning has the purpose fine-tune; files here have {known}.",
            code="invalid_purpose",
            param="purpose",
        )
    return "fine-tune"


def _expires_after(form: FormData) -> int | None:
    anchor, given = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and given is None:
        return None
    seconds = int(given) if isinstance(given, str) and given.isascii() and given.isdecimal() else 0
    if anchor != "created_at" or seconds not in EXPIRES:
        raise ApiError(
            f"A file expires from {EXPIRES[0]} to {EXPIRES[-1]} seconds after created_at.",
            code="invalid_value",
            param="expires_after",
        )
    return seconds
