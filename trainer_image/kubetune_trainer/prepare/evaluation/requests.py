"""Prompts as a client of the server sends them, and how many tokens the server makes of them.

A message of a row has the form of chat templates; a request has OpenAI's, which vLLM turns into the former:
it decodes the arguments of calls, and reads reasoning under the name ``reasoning`` (``template.rendering``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from ...data.chat import PARTS, Message
from ...scoring.questions import Prompt
from ...template.encoding import Encoder
from ...template.rendering import ChatTemplate

_KEPT = ("name", "tool_call_id")


def sent(messages: Sequence[Message]) -> tuple[dict[str, Any], ...]:
    """The messages of a request."""
    numbers = count()
    return tuple(_sent(message, numbers) for message in messages)


def sent_tools(tools: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The tools of a request."""
    return tuple({"type": "function", "function": tool["function"]} for tool in tools)


def _sent(message: Message, numbers: count[int]) -> dict[str, Any]:
    given: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if PARTS in message:
        given["content"] = [{"type": "text", "text": text} for text in message[PARTS]]
    given |= {key: message[key] for key in _KEPT if key in message}
    if "reasoning_content" in message:
        given["reasoning"] = message["reasoning_content"]
    if "tool_calls" in message:
        given["tool_calls"] = [_sent_call(call, numbers) for call in message["tool_calls"]]
    return given


def _sent_call(call: dict[str, Any], numbers: count[int]) -> dict[str, Any]:
    """Calls of requests have an id, of which some templates want nine characters; rows may do without."""
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {
        "id": call.get("id") or f"call{next(numbers):05d}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


class Prompter:
    """Makes prompts for one model."""

    def __init__(self, tokenizer: Any, template: ChatTemplate | None) -> None:
        self._encoder = Encoder(tokenizer)
        self._template = template

    def chat(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Prompt:
        """The prompt of a conversation; raises Findings where the template refuses it."""
        tokens = self._count(self.rendered(messages, tools), special=False)
        return Prompt(messages=sent(messages), tokens=tokens)

    def text(self, text: str) -> Prompt:
        """The prompt of a text, which gets the tokens that the tokenizer puts around it."""
        return Prompt(text=text, tokens=self._count(text, special=True))

    def rendered(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str:
        """What the server reads; raises Findings where the template refuses it."""
        assert self._template is not None  # RowReader refuses conversations without a template
        return self._template.render_served(self._template.served(messages), tools, prompt=True)

    def _count(self, text: str, *, special: bool) -> int:
        return len(self._encoder.encode([text], special=special)[0].ids)
