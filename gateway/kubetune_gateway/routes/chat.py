"""/chat/completions and /completions: asked of the server that has the model."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..chat.question import question
from ..chat.relay import Relay
from ..completions.keeping import keeping
from ..contracts import Caller, Means
from ..models.target import target
from .document import asks_object
from .requests import Needs, may

router = APIRouter()

Asker = Annotated[Caller, may("create", "finetunejobs/completions")]

CHAT: Final = "chat/completions"
"""Path of a conversation; only these are stored."""

MODEL: Final = {"model": {"type": "string", "minLength": 1}}
CONVERSATION: Final = asks_object(
    {**MODEL, "messages": {"type": "array", "items": {"type": "object"}}}, required=["model", "messages"]
)
TEXT: Final = asks_object({**MODEL, "prompt": {"type": "string"}}, required=["model", "prompt"])
ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "What the model's server answers; a stream where one was asked for.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
}


@router.post("/chat/completions", openapi_extra=CONVERSATION, responses=ANSWER)
async def chat(request: Request, means: Needs, who: Asker) -> Response:
    """Answer a conversation."""
    return await ask(request, means, who, path=CHAT)


@router.post("/completions", openapi_extra=TEXT, responses=ANSWER)
async def completions(request: Request, means: Needs, who: Asker) -> Response:
    """Go on with a text."""
    return await ask(request, means, who, path="completions")


async def ask(
    request: Request, means: Means, who: Caller, *, path: str, model: str | None = None
) -> Response:
    """Ask the server; ``model`` is the name in the path, where it has one."""
    asked = question(await request.body(), model=model)
    keep = None
    if path == CHAT:
        now = int(means.now().timestamp())
        keep = keeping(means.completions, who.namespace, asked.body, now=now)
    return Relay(
        asked,
        target(await means.jobs.list(who.namespace), means.platform, asked.model),
        path=path,
        upstream=means.upstream,
        telemetry=means.telemetry,
        namespace=who.namespace,
        request_id=f"req_{means.random(16).hex()}",
        keep=keep,
    )
