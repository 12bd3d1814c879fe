"""Refuses a row of which the model's chat template drops or changes something: never a silent loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..data.chat import INSTRUCTS, Conversation, Message, texts
from ..data.findings import Finding, Findings
from .rendering import no_system_role

Render = Callable[[Sequence[Message], Sequence[Any]], str]


def require_context(conversation: Conversation, text: str) -> None:
    """Refuse a row whose system or user messages the template drops."""
    for index, message in enumerate(conversation.messages):
        if message["role"] not in (*INSTRUCTS, "user"):
            continue
        if any(said.strip() not in text for said in texts(message)):
            if index < conversation.added:
                raise no_system_role()
            raise _drops(conversation.number(index), message["role"])


def require_rest(conversation: Conversation, render: Render) -> None:
    """Refuse a row whose tools, tool calls, tool results or answers that are not trained on are dropped.

    Their text may stand elsewhere too ("search" is a word as well), or be written as JSON. So the row is
    rendered once more with a mark in the place of each, and every mark must be there.
    """
    marks = _Marks()
    messages = [*conversation.messages]
    for index, (message, trained) in enumerate(zip(messages, conversation.trained, strict=True)):
        changed, number = {**message}, conversation.number(index)
        if message["role"] == "tool" or (
            message["role"] == "assistant" and message["content"] and not trained
        ):
            changed["content"] = marks.add(_drops(number, message["role"]))
        if "tool_calls" in message:
            changed["tool_calls"] = [_marked_call(call, number, marks) for call in message["tool_calls"]]
        messages[index] = changed
    tools = [
        {**tool, "function": {**tool["function"], "name": marks.add(_drops_tools())}}
        for tool in conversation.tools
    ]
    if not marks.expected:
        return
    text = render(messages, tools)
    for mark, findings in marks.expected:
        if mark not in text:
            raise findings


class _Marks:
    """Words that stand in for something; of letters and digits, which every template writes as they are."""

    def __init__(self) -> None:
        self.expected: list[tuple[str, Findings]] = []
        """Each with what is wrong if it is missing."""

    def add(self, findings: Findings) -> str:
        mark = f"kubetune{len(self.expected)}mark"
        self.expected.append((mark, findings))
        return mark


def _marked_call(call: dict[str, Any], number: int, marks: _Marks) -> dict[str, Any]:
    """The call with marks for its name and its arguments that are strings."""
    name = marks.add(_drops_calls(number))
    arguments = {
        key: marks.add(_drops_arguments(number)) if isinstance(value, str) else value
        for key, value in call["function"]["arguments"].items()
    }
    return {**call, "function": {"name": name, "arguments": arguments}}


def require_turn(message: Message, number: int, span: str) -> None:
    """Refuse an assistant turn of which something is not in ``span``, which is learned."""
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
            f"The model's chat template drops the reasoning of message {number}. Remove the reasoning, or "
            "set the message's weight to 0."
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


def _drops_arguments(number: int) -> Findings:
    sentence = f"The model's chat template drops arguments of the tool calls of message {number}."
    return Findings([Finding("template_drops", sentence)])


def _drops_tools() -> Findings:
    sentence = "The model's chat template drops the row's tools: use a model that knows tools."
    return Findings([Finding("template_drops", sentence)])
