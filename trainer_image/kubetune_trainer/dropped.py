"""Refuses a row of which the model's chat template drops or changes something: never a silent loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .chat import Conversation, Message
from .findings import Finding, Findings

Render = Callable[[Sequence[Message], Sequence[Any]], str]


def require_context(conversation: Conversation, text: str) -> None:
    """Refuse a row whose tools, system or user messages the template drops."""
    for number, message in enumerate(conversation.messages, start=1):
        if message["role"] in ("system", "user") and message["content"].strip() not in text:
            raise _drops(number, message["role"])
        for call in message.get("tool_calls", ()):
            if call["function"]["name"] not in text:
                raise _drops_calls(number)
    for tool in conversation.tools:
        if tool["function"]["name"] not in text:
            sentence = "The model's chat template drops the row's tools: use a model that knows tools."
            raise Findings([Finding("template_drops", sentence)])


def require_history(conversation: Conversation, render: Render) -> None:
    """Refuse a row whose tool results, or answers that are not trained on, the template drops.

    Their text may stand elsewhere too, or be written as JSON, so marks are looked for in their place.
    """
    messages = [*conversation.messages]
    marks: dict[int, str] = {}
    for index, (message, trained) in enumerate(zip(messages, conversation.trained, strict=True)):
        answer = message["role"] == "assistant" and message["content"] and not trained
        if answer or message["role"] == "tool":
            marks[index] = f"kubetune-{index}-mark"
            messages[index] = {**message, "content": marks[index]}
    marked = render(messages, conversation.tools) if marks else ""
    for index, mark in marks.items():
        if mark not in marked:
            raise _drops(index + 1, messages[index]["role"])


def require_turn(message: Message, number: int, span: str) -> None:
    """Refuse an assistant turn of which the template drops something."""
    for call in message.get("tool_calls", ()):
        if call["function"]["name"] not in span:
            raise _drops_calls(number)
    content: str = message["content"]
    reasoning = message.get("reasoning_content", "")
    if "</think>" in content:
        inline, _, content = content.rpartition("</think>")
        reasoning = reasoning or inline.rpartition("<think>")[2]
    if reasoning.strip() not in span:
        sentence = (
            f"The model's chat template drops the reasoning of message {number}. Remove the reasoning, set "
            "the message's weight to 0, or end the conversation with it."
        )
        raise Findings([Finding("reasoning_dropped", sentence)])
    if content.strip() not in span:
        sentence = f"The model's chat template drops or changes the content of message {number}."
        raise Findings([Finding("template_drops", sentence)])
    if not span.strip():
        raise Findings(
            [Finding("nothing_to_train", f"Nothing of message {number} is left by the chat template.")]
        )


def _drops(number: int, role: str) -> Findings:
    sentence = f"The model's chat template drops or changes message {number} ({role})."
    return Findings([Finding("template_drops", sentence)])


def _drops_calls(number: int) -> Findings:
    sentence = f"The model's chat template drops the tool calls of message {number}."
    return Findings([Finding("template_drops", sentence)])
