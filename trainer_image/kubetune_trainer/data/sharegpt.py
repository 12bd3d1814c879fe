"""ShareGPT's dialects: turns with from and value, in the form of OpenAI's messages."""

from __future__ import annotations

from typing import Any

from .json_text import decoded

_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "function-response": "tool",
}
_CALLS = ("function_call", "function-call", "tool_call")
_KEYS = {"from": "role", "value": "content"}


def as_messages(turns: Any) -> Any:
    """Turns as messages, which are still to be checked; what has another form comes back as it is."""
    if not isinstance(turns, list):
        return turns
    return [_message(turn) if isinstance(turn, dict) else turn for turn in turns]


def are_turns(value: Any) -> bool:
    """Whether a list is written with from and value."""
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and value[0].keys() >= {"from"}
    )


def _message(turn: dict[str, Any]) -> dict[str, Any]:
    message = {_KEYS.get(key, key) if _KEYS.get(key) not in turn else key: turn[key] for key in turn}
    role = message.get("role")
    if role in _CALLS and isinstance(message.get("content"), str):
        calls = decoded(message.pop("content"))
        calls = calls if isinstance(calls, list) else [calls]
        return {**message, "role": "assistant", "content": "", "tool_calls": calls}
    return {**message, "role": _ROLES.get(role, role)} if isinstance(role, str) else message
