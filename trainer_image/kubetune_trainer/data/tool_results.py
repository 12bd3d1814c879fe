"""Puts the results of tools in the order of the calls that they answer: templates match them by position."""

from __future__ import annotations

from dataclasses import replace

from .chat import Conversation, Message
from .findings import Finding, Findings


def in_order_of_calls(conversation: Conversation) -> Conversation:
    """The conversation with each turn's results in the order of its calls.

    Results without ids are taken as they stand. Raises Findings where an id belongs to no call or to two
    results, and where a call has no result though another of its turn has.
    """
    messages = list(conversation.messages)
    index = 0
    while index < len(messages):
        if messages[index]["role"] != "tool":
            index += 1
            continue
        end = index
        while end < len(messages) and messages[end]["role"] == "tool":
            end += 1
        calls = messages[index - 1].get("tool_calls", []) if index else []
        messages[index:end] = _matched(calls, messages[index:end], index, conversation)
        index = end
    return replace(conversation, messages=tuple(messages))


def _matched(
    calls: list[Message], results: list[Message], start: int, conversation: Conversation
) -> list[Message]:
    """``start`` is the index of the first result."""
    caller = conversation.number(start - 1)
    ids = [call["id"] for call in calls if "id" in call]
    given = [result.get("tool_call_id") for result in results]
    if not any(given) or (not ids and len(calls) == len(results) == 1):
        return results
    if len(set(ids)) < len(ids):
        raise _wrong(f"Two calls of message {caller} have the same id, so that their results cannot be told.")
    found: dict[str, Message] = {}
    for offset, (identity, result) in enumerate(zip(given, results, strict=True)):
        number = conversation.number(start + offset)
        if not identity:
            raise _wrong(f"Message {number} has no tool_call_id, but other results of message {caller} have.")
        if identity not in ids:
            raise _wrong(f"The tool_call_id of message {number} is the id of no call of the message before.")
        if identity in found:
            raise _wrong(f"The tool_call_id of message {number} is that of another result.")
        found[identity] = result
    if len(found) < len(calls):
        raise _wrong(
            f"{len(calls) - len(found)} of the calls of message {caller} have no result with their id."
        )
    return [found[identity] for identity in ids]


def _wrong(message: str) -> Findings:
    return Findings([Finding("invalid_tool_result", message)])
