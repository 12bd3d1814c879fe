"""Text of models and people within a report: bounded, and messages as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..pages.text import escaped

_BEGINNING: Final = 900
"""Characters that are shown of a long text's beginning; of its end a third as many."""
_LINES: Final = 24


def bounded(text: str) -> str:
    """Beginning and end of a long text, with the number of characters or lines between."""
    end = _BEGINNING // 3
    if len(text) > _BEGINNING + end:
        left_out = len(text) - _BEGINNING - end
        text = f"{text[:_BEGINNING]}\n... {left_out:,} characters ...\n{text[-end:]}"
    lines = text.splitlines()
    if len(lines) <= _LINES:
        return text
    tail = _LINES // 4
    return "\n".join(
        [*lines[: _LINES - tail], f"... {len(lines) - _LINES:,} lines ...", *lines[len(lines) - tail :]]
    )


def block(text: str) -> str:
    """A text in a box of its own, whose direction is that of its first letter."""
    if not text:
        return '<p class="quiet">(empty)</p>'
    return f'<pre dir="auto">\n{escaped(bounded(text))}</pre>'  # HTML drops a newline that comes first


def said(text: str, calls: Sequence[Mapping[str, Any]] = ()) -> str:
    """A message with the calls of tools in it."""
    return "\n".join(filter(None, (text, *(_json(call) for call in calls))))


def last_message(prompt: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Role and text of the last message of a prompt."""
    if not prompt:
        return "text", ""
    message = prompt[-1]
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(
            part["text"] if isinstance(part, dict) and isinstance(part.get("text"), str) else _json(part)
            for part in content
        )
    text = content if isinstance(content, str) else "" if content is None else _json(content)
    calls = message.get("tool_calls")
    return str(message.get("role", "text")), said(text, calls if isinstance(calls, list | tuple) else ())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
