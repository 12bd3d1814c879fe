"""/files: uploaded, listed, read and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from ..contracts import Caller
from ..files.record import LIFETIME, File, Purpose, lifetime, purpose_of
from ..files.store import described
from ..ids import file_id
from ..wire.pages import Deleted, Page, page
from .document import answers, asks_form
from .forms import Incoming
from .requests import Needs, may

router = APIRouter()

Reader = Annotated[Caller, may("get", "finetunejobs/files")]
Lister = Annotated[Caller, may("list", "finetunejobs/files")]
Writer = Annotated[Caller, may("create", "finetunejobs/files")]
Deleter = Annotated[Caller, may("delete", "finetunejobs/files")]

FORM: Final = asks_form(
    {
        "file": {"type": "string", "format": "binary", "minLength": 1},
        "purpose": {"type": "string", "enum": ["fine-tune"]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": LIFETIME[0], "maximum": LIFETIME[-1]},
    },
    required=["file", "purpose"],
    dependentRequired={
        "expires_after[anchor]": ["expires_after[seconds]"],
        "expires_after[seconds]": ["expires_after[anchor]"],
    },
)
BYTES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.post("/files", openapi_extra=FORM, responses=answers(File))
async def upload(request: Request, means: Needs, who: Writer) -> dict[str, Any]:
    """Store a file, which goes on to S3 as it comes."""
    form = Incoming(request, file="file")
    await form.begin()
    if "purpose" in form.fields:
        _purpose(form.fields)

    async def rows() -> AsyncIterator[bytes]:
        async for piece in form.content():
            yield piece
        # Fields may come after the file: what these do not allow is taken back, as nothing was told of it.
        _purpose(form.fields)
        _expires_after(form.fields)

    id_ = file_id(means.random(16))
    tally = await means.files.write(who.namespace, id_, rows())
    kept = described(
        tally,
        id_,
        name=form.filename,
        purpose=_purpose(form.fields),
        now=means.now(),
        expires_after=_expires_after(form.fields),
    )
    file = await means.files.tell(who.namespace, kept)
    means.telemetry.uploaded.inc(file.bytes)
    return file.model_dump(mode="json")


@router.get("/files", responses=answers(Page[File]))
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


@router.get("/files/{id_}", responses=answers(File))
async def retrieve(id_: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One file."""
    return (await means.files.get(who.namespace, id_, now=means.now())).file.model_dump(mode="json")


@router.get("/files/{id_}/content", response_class=StreamingResponse, responses=BYTES)
async def content(id_: str, means: Needs, who: Reader) -> StreamingResponse:
    """Its bytes."""
    chunks = await means.files.content(who.namespace, id_, now=means.now())
    return StreamingResponse(chunks, media_type="application/octet-stream")


@router.delete("/files/{id_}", responses=answers(Deleted))
async def delete(id_: str, means: Needs, who: Deleter) -> dict[str, Any]:
    """Delete it."""
    await means.files.delete(who.namespace, id_, now=means.now())
    return {"id": id_, "object": "file", "deleted": True}


def _purpose(fields: Mapping[str, str]) -> Purpose:
    return purpose_of(fields.get("purpose"))


def _expires_after(fields: Mapping[str, str]) -> int | None:
    anchor, given = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and given is None:
        return None
    text = given or ""
    is_number = text.isascii() and text.isdecimal() and len(text) < 10
    return lifetime(anchor, int(text) if is_number else 0)
