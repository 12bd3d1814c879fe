"""/chat/completions and /completions: asked of the server that has the model."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..chat.question import question
from ..chat.relay import Relay
from ..contracts import Caller, Means
from ..models.target import target
from .requests import Needs, body_of, may

router = APIRouter()

Asker = Annotated[Caller, may("create", "finetunejobs/completions")]

BODY_LIMIT: Final = 8 * 2**20
"""Bytes, as many as a job's server takes."""


@router.post("/chat/completions")
async def chat(request: Request, means: Needs, who: Asker) -> Response:
    """Answer a conversation."""
    return await ask(request, means, who, path="chat/completions")


@router.post("/completions")
async def completions(request: Request, means: Needs, who: Asker) -> Response:
    """Go on with a text."""
    return await ask(request, means, who, path="completions")


async def ask(
    request: Request, means: Means, who: Caller, *, path: str, model: str | None = None
) -> Response:
    """Ask the server; ``model`` is the name in the path, where it has one."""
    asked = question(await body_of(request, limit=BODY_LIMIT), model=model)
    return Relay(
        asked,
        target(await means.jobs.list(who.namespace), means.platform, asked.model),
        path=path,
        upstream=means.upstream,
        telemetry=means.telemetry,
        namespace=who.namespace,
        request_id=f"req_{means.random(16).hex()}",
    )
