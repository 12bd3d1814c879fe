"""A stored completion: what was asked and what was answered. Pure.

Source: openai/openai-openapi (2026-08), `/chat/completions` with GET, and the types of openai-python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ConfigDict, Field

from ..wire.jobs import Metadata, Wire

ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""An id becomes part of a key; servers make theirs of letters, digits and hyphens."""

_TOLD: Final[tuple[str, ...]] = ("temperature", "top_p", "seed", "tools", "tool_choice", "response_format")
"""Of the request, beside the messages: what is told with the completion."""

_LEARNED: Final[tuple[str, ...]] = ("tools", "parallel_tool_calls")
"""Of the request, beside the messages: what is part of a training row."""

_WHOLE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Ends of an answer that was not cut off."""


class Told(Wire):
    """Something with an id on the wire, and what else it has."""

    model_config = ConfigDict(extra="allow")

    id: str


class Stored(Wire):
    """What is kept of a completion."""

    request: dict[str, Any]
    """As the client sent it."""
    response: dict[str, Any]
    """As the client got it; of a stream the whole."""
    metadata: Metadata | None = None
    created: int = Field(ge=0)
    """Unix seconds."""

    @property
    def id(self) -> str:
        """The completion's, as the client knows it."""
        return str(self.response["id"])

    @property
    def model(self) -> str:
        """As it was asked for."""
        return str(self.response.get("model"))

    def told(self) -> Told:
        """The completion on the wire."""
        asked = {name: self.request[name] for name in _TOLD if name in self.request}
        return Told(**{**self.response, **asked, "metadata": self.metadata or {}})

    def messages(self) -> list[Told]:
        """What was asked, on the wire: each message with an id."""
        return [
            _message(f"{self.id}-{number}", message)
            for number, message in enumerate(self.request.get("messages") or [])
            if isinstance(message, dict)
        ]

    def row(self) -> dict[str, Any] | None:
        """A row to train on, the answer last; None for an answer that was cut off or has nothing in it."""
        choices = self.response.get("choices") or [{}]
        message, ended = choices[0].get("message") or {}, choices[0].get("finish_reason")
        learned = {name: message[name] for name in ("content", "tool_calls", "refusal") if message.get(name)}
        if ended not in _WHOLE or not learned:
            return None
        answer = {"role": "assistant", **learned}
        more = {name: self.request[name] for name in _LEARNED if name in self.request}
        return {"messages": [*self.request.get("messages", ()), answer], **more}


def matches(stored: Stored, *, model: str | None, metadata: Mapping[str, str] | None) -> bool:
    """Whether it is of this model and has these pairs, where they are asked for."""
    return (model in (None, stored.model)) and (metadata or {}).items() <= (stored.metadata or {}).items()


def _message(id_: str, message: Mapping[str, Any]) -> Told:
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    return Told(**{**message, "id": id_, "content": None if parts else content, "content_parts": parts})
