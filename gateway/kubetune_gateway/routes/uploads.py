"""/uploads: begun, given parts, completed and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request

from ..contracts import Caller
from ..uploads.record import CompleteUpload, CreateUpload, Upload, UploadPart
from .document import answers, asks, asks_form
from .forms import Incoming
from .requests import Needs, json_body, may

router = APIRouter(prefix="/uploads")

Writer = Annotated[Caller, may("create", "finetunejobs/files")]

PART: Final = asks_form({"data": {"type": "string", "format": "binary", "minLength": 1}}, required=["data"])


@router.post("", openapi_extra=asks(CreateUpload), responses=answers(Upload))
async def begin(request: Request, means: Needs, who: Writer) -> dict[str, Any]:
    """Begin an upload in parts."""
    asked = await json_body(request, CreateUpload)
    upload = await means.uploads.begin(who.namespace, asked, random=means.random(16), now=means.now())
    return upload.model_dump(mode="json")


@router.post("/{id_}/parts", openapi_extra=PART, responses=answers(UploadPart))
async def add(id_: str, request: Request, means: Needs, who: Writer) -> dict[str, Any]:
    """Give it a part, which goes on to S3 as it comes."""
    form = Incoming(request, file="data")
    await form.begin()

    async def counted() -> AsyncIterator[bytes]:
        async for piece in form.content():
            means.telemetry.uploaded.inc(len(piece))
            yield piece

    part = await means.uploads.add(who.namespace, id_, counted(), random=means.random(16), now=means.now())
    return part.model_dump(mode="json")


@router.post("/{id_}/complete", openapi_extra=asks(CompleteUpload), responses=answers(Upload))
async def complete(id_: str, request: Request, means: Needs, who: Writer) -> dict[str, Any]:
    """Make a file of its parts."""
    asked = await json_body(request, CompleteUpload)
    return (await means.uploads.complete(who.namespace, id_, asked, now=means.now())).model_dump(mode="json")


@router.post("/{id_}/cancel", responses=answers(Upload))
async def cancel(id_: str, means: Needs, who: Writer) -> dict[str, Any]:
    """End it without a file."""
    return (await means.uploads.cancel(who.namespace, id_, now=means.now())).model_dump(mode="json")
