"""Keeps an answer that a client has asked to keep."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from ..wire.errors import ApiError
from ..wire.jobs import Metadata
from .record import Stored
from .store import Completions
from .stream import whole

logger = logging.getLogger(__name__)

_METADATA: Final[TypeAdapter[dict[str, str] | None]] = TypeAdapter(Metadata | None)


def keeping(
    completions: Completions, namespace: str, asked: Mapping[str, Any], *, now: int
) -> Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]] | None:
    """What keeps the answer to a request, in one piece or in those of a stream; None where nobody asks.

    An answer that S3 does not take is answered all the same: it is worth more to the client than its copy.

    Raises ApiError for metadata that cannot be kept.
    """
    if asked.get("store") is not True:
        return None
    try:
        metadata = _METADATA.validate_python(asked.get("metadata"))
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        raise ApiError(
            f"metadata: {said}. It has at most 16 pairs of texts, of 64 and 512 characters.",
            code="invalid_value",
            param="metadata",
        ) from None

    async def keep(answer: Sequence[Mapping[str, Any]]) -> None:
        [first, *more] = answer or [{}]
        response = whole(answer) if more or first.get("object") != "chat.completion" else dict(first)
        if response is None:
            return
        request = {name: value for name, value in asked.items() if name not in ("store", "metadata")}
        try:
            stored = Stored(request=request, response=response, metadata=metadata, created=now)
            if await completions.add(namespace, stored):
                return
            logger.warning("A completion was not stored: its id is taken, or is none")
        except ApiError as error:
            logger.warning("A completion was not stored: %s", error.message)

    return keep
