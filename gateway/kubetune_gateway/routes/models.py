"""/models: listed, looked at, and deleted with their jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from kubetune.vocabulary.json_values import dict_of, text_of

from ..contracts import Caller
from ..models.catalog import listed, model_of
from ..models.deletion import to_delete
from ..wire.models import Model, Models
from ..wire.pages import Deleted
from .document import answers
from .requests import Needs, may

router = APIRouter(prefix="/models")

Reader = Annotated[Caller, may("get", "finetunejobs")]
Lister = Annotated[Caller, may("list", "finetunejobs")]
Deleter = Annotated[Caller, may("delete", "finetunejobs")]

# OpenAI's older client does not escape a slash in a path, which names of base models may have.


@router.get("", responses=answers(Models))
async def listing(means: Needs, who: Lister) -> dict[str, Any]:
    """All that can be asked."""
    found = listed(await means.jobs.list(who.namespace), means.platform)
    return {"object": "list", "data": [model.model_dump() for model in found]}


@router.get("/{model:path}", responses=answers(Model))
async def retrieve(model: str, means: Needs, who: Reader) -> dict[str, Any]:
    """One model."""
    return model_of(await means.jobs.list(who.namespace), means.platform, model).model_dump()


@router.delete("/{model:path}", responses=answers(Deleted))
async def delete(model: str, means: Needs, who: Deleter) -> dict[str, Any]:
    """Delete a model that has no server, and its job, which keeps its weights."""
    raw = to_delete(await means.jobs.list(who.namespace), means.platform, model)
    meta = dict_of(raw.get("metadata"))
    await means.jobs.delete(who.namespace, text_of(meta.get("name")), uid=text_of(meta.get("uid")))
    return {"id": model, "object": "model", "deleted": True}
