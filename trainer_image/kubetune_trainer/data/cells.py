"""Lists that stand in a row as text: cells of CSV and of many Parquet files hold them as JSON."""

from __future__ import annotations

import re
from typing import Any

from .chat import ROLES
from .findings import Finding, Findings
from .json_text import DuplicateKey, decoded, without_nulls

_LISTS = ("messages", "conversations", "tools", "functions")
_TEXTS = ("prompt", "completion")
_NO_TOOLS = ("none", "nan", "null")
_SAYS = {"content", "tool_calls", "function_call"}

_PYTHON = re.compile(r"""\s*(?:array\()?\[?\s*\{\s*'(?:role|content|from|value|type|function|name)'\s*:""")
"""How Python writes a list of messages or tools."""


def structured(key: str, value: Any, *, called: str, has_cells: bool) -> Any:
    """The value of a standard column, decoded where it is a list as text.

    In files with cells a prompt or completion is one too, if it holds messages. Raises Findings.
    """
    if not isinstance(value, str) or not (key in _LISTS or (has_cells and key in _TEXTS)):
        return value
    if key in _LISTS and not value.strip():
        return []
    if key in ("tools", "functions") and value.strip().lower() in _NO_TOOLS:
        return []
    try:
        held = decoded(value)
    except DuplicateKey as error:
        if key in _TEXTS:
            return value
        raise Findings([Finding("duplicate_key", f"{called} cannot be used: {error}.")]) from None
    if held is value and _PYTHON.match(value):
        message = f"{called} is a list as Python writes it, not JSON: write it with json.dumps."
        raise Findings([Finding("invalid_json", message)])
    held = without_nulls(held)
    return held if key in _LISTS or _are_messages(held) else value


def _are_messages(value: Any) -> bool:
    """Whether decoded text is a list of messages, and not an answer that happens to be JSON."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(item, dict) and item.keys() & _SAYS and item.get("role") in ROLES for item in value
        )
    )
