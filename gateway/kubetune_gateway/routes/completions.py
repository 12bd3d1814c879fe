"""/chat/completions that were stored: listed, looked at, changed, deleted, and made into rows to train on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from ..completions.record import Told
from ..contracts import Caller, Means
from ..files.record import File
from ..ids import file_id
from ..wire.errors import ApiError
from ..wire.jobs import Metadata, Wire
from ..wire.pages import Deleted, Page, page
from .document import answers, asks
from .requests import Needs, json_body, may, metadata_asked_for

router = APIRouter()

Reader = Annotated[Caller, may("get", "finetunejobs/completions")]
Lister = Annotated[Caller, may("list", "finetunejobs/completions")]
Changer = Annotated[Caller, may("update", "finetunejobs/completions")]
Deleter = Annotated[Caller, may("delete", "finetunejobs/completions")]
Maker = Annotated[Caller, may("create", "finetunejobs/files")]
Limit = Annotated[int, Query(ge=0, le=100)]
Order = Literal["asc", "desc"]


class Change(Wire):
    """Body of POST /chat/completions/{id}."""

    metadata: Metadata | None


class Chosen(Wire):
    """Body of POST /chat/datasets: which stored completions become a file of rows."""

    model: str | None = None
    """Those that this model answered."""
    metadata: Metadata | None = None
    """Those with these pairs."""
    filename: str | None = None


@router.get("/chat/completions", responses=answers(Page[Told]))
async def listing(
    request: Request,
    means: Needs,
    who: Lister,
    model: str | None = None,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
) -> dict[str, Any]:
    """Stored completions, the oldest first; `metadata[key]=value` chooses some."""
    found: list[Told] = []
    chosen = means.completions.chosen(
        who.namespace,
        model=model,
        metadata=metadata_asked_for(request),
        after=after,
        newest_first=order == "desc",
    )
    async for stored in chosen:
        found.append(stored.told())
        if len(found) > limit:  # one more says that there are more
            break
    return page(found, after=None, limit=limit)


@router.get("/chat/completions/{id_}", responses=answers(Told))
async def retrieve(id_: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One."""
    return (await means.completions.get(who.namespace, id_)).told().model_dump(mode="json")


@router.get("/chat/completions/{id_}/messages", responses=answers(Page[Told]))
async def messages(
    id_: str, means: Needs, who: Reader, after: str | None = None, limit: Limit = 20, order: Order = "asc"
) -> dict[str, Any]:
    """What was asked."""
    asked = (await means.completions.get(who.namespace, id_)).messages()
    return page(asked if order == "asc" else asked[::-1], after=after, limit=limit)


@router.post("/chat/completions/{id_}", openapi_extra=asks(Change), responses=answers(Told))
async def change(id_: str, request: Request, means: Needs, who: Changer) -> dict[str, Any]:
    """Give it other metadata."""
    asked = await json_body(request, Change)
    return (await means.completions.change(who.namespace, id_, asked.metadata)).told().model_dump(mode="json")


@router.delete("/chat/completions/{id_}", responses=answers(Deleted))
async def delete(id_: str, means: Needs, who: Deleter) -> dict[str, Any]:
    """Delete it."""
    await means.completions.delete(who.namespace, id_)
    return {"id": id_, "object": "chat.completion.deleted", "deleted": True}


@router.post("/chat/datasets", openapi_extra=asks(Chosen), responses=answers(File))
async def dataset(request: Request, means: Needs, who: Maker, _: Lister) -> dict[str, Any]:
    """Make a file for fine-tuning of those that are chosen: each is a row, the answer last.

    Answers that were cut off, or have nothing in them, are left out.
    """
    asked = await json_body(request, Chosen)
    file = await means.files.put(
        who.namespace,
        file_id(means.random(16)),
        _rows(means, who, asked),
        name=asked.filename or "completions.jsonl",
        purpose="fine-tune",
        now=means.now(),
    )
    return file.model_dump(mode="json")


async def _rows(means: Means, who: Caller, asked: Chosen) -> AsyncIterator[bytes]:
    """JSON Lines. Raises ApiError where there are none."""
    is_empty = True
    async for stored in means.completions.chosen(who.namespace, model=asked.model, metadata=asked.metadata):
        if (row := stored.row()) is not None:
            is_empty = False
            yield json.dumps(row, ensure_ascii=False).encode() + b"\n"
    if is_empty:
        raise ApiError(
            "There is no stored completion like this whose answer is whole: ask with store: true, and see "
            "GET /v1/chat/completions for what is there.",
            status=HTTPStatus.NOT_FOUND,
            code="no_completions",
        )
