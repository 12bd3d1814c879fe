"""Refuses a row of which the model's chat template drops or changes something: never a silent loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..contract.errors import DataInvalid
from ..data.chat import Conversation, Message
from ..data.findings import Finding, Findings

Render = Callable[[Sequence[Message], Sequence[Any]], tuple[str, list[tuple[int, int]]]]
"""Text of a conversation, and the assistant's turns in it where the template marks them itself."""


def require_context(conversation: Conversation, text: str) -> None:
    """Refuse a row whose system or user messages the template drops."""
    for index, message in enumerate(conversation.messages):
        if message["role"] in ("system", "user") and message["content"].strip() not in text:
            if index < conversation.added:
                raise no_system_role()
            raise _drops(conversation.number(index), message["role"])


def no_system_role() -> DataInvalid:
    """The job's system prompt is at fault, and so no row."""
    return DataInvalid(
        "The model's chat template takes no system message as dataset.systemPrompt adds it: remove "
        "dataset.systemPrompt, write it into the user messages, or use a model that knows system messages."
    )


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
            turn = index if trained else None
            changed["tool_calls"] = [
                _marked_call(call, number, turn, marks) for call in message["tool_calls"]
            ]
        messages[index] = changed
    tools = [
        {**tool, "function": {**tool["function"], "name": marks.add(_drops_tools())}}
        for tool in conversation.tools
    ]
    if not marks.expected:
        return
    text, spans = render(messages, tools)
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    learned = dict(zip(turns, spans, strict=True)) if len(spans) == len(turns) else {}
    for mark, turn, findings in marks.expected:
        place = text[slice(*learned[turn])] if turn in learned else text
        if mark not in place:
            raise findings


class _Marks:
    """Words that stand in for something; of letters and digits, which every template writes as they are."""

    def __init__(self) -> None:
        self.expected: list[tuple[str, int | None, Findings]] = []
        """Each with the turn that must hold it, if that is learned, and what is wrong if it is missing."""

    def add(self, findings: Findings, turn: int | None = None) -> str:
        mark = f"kubetune{len(self.expected)}mark"
        self.expected.append((mark, turn, findings))
        return mark


def _marked_call(call: dict[str, Any], number: int, turn: int | None, marks: _Marks) -> dict[str, Any]:
    """The call with marks for its name and its arguments that are strings."""
    name = marks.add(_drops_calls(number), turn)
    arguments = {
        key: marks.add(_drops_arguments(number), turn) if isinstance(value, str) else value
        for key, value in call["function"]["arguments"].items()
    }
    return {**call, "function": {"name": name, "arguments": arguments}}


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


def _drops_arguments(number: int) -> Findings:
    sentence = f"The model's chat template drops arguments of the tool calls of message {number}."
    return Findings([Finding("template_drops", sentence)])


def _drops_tools() -> Findings:
    sentence = "The model's chat template drops the row's tools: use a model that knows tools."
    return Findings([Finding("template_drops", sentence)])
