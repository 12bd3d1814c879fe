"""From the pieces of a stream to the completion that they are. Pure.

Source: openai/openai-openapi (2026-08), CreateChatCompletionStreamResponse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_JOINED: Final = ("content", "refusal", "reasoning_content", "reasoning")


def whole(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The completion; None where there was no piece of one."""
    found: dict[str, Any] | None = None
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        if "id" not in chunk:
            continue
        found = found or {
            "id": chunk["id"],
            "object": "chat.completion",
            "created": chunk.get("created", 0),
            "model": chunk.get("model"),
        }
        if chunk.get("usage"):
            found["usage"] = chunk["usage"]
        for piece in chunk.get("choices") or ():
            index = piece.get("index", 0)
            choice = choices.setdefault(
                index,
                {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None},
            )
            _add(choice["message"], piece.get("delta") or {})
            if piece.get("finish_reason"):
                choice["finish_reason"] = piece["finish_reason"]
    if found is not None:
        found["choices"] = [choices[index] for index in sorted(choices)]
    return found


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name in _JOINED:
        if delta.get(name):
            message[name] = (message.get(name) or "") + delta[name]
    for piece in delta.get("tool_calls") or ():
        calls: list[dict[str, Any]] = message.setdefault("tool_calls", [])
        index = piece.get("index", len(calls))
        if index >= len(calls):  # calls come one after the other
            calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[min(index, len(calls) - 1)]
        call["id"] = piece.get("id") or call["id"]
        function = piece.get("function") or {}
        for name in ("name", "arguments"):
            call["function"][name] += function.get(name) or ""
