"""Names of columns: what makes a format, what belongs to it, and what carries a meaning that is not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..contract.errors import DataInvalid
from .findings import Finding, Findings

Format = Literal["Chat", "ShareGPT", "PromptCompletion", "Alpaca", "Text"]

REQUIRED: dict[Format, tuple[str, ...]] = {
    "Chat": ("messages",),
    "ShareGPT": ("conversations",),
    "PromptCompletion": ("prompt", "completion"),
    "Alpaca": ("instruction", "output"),
    "Text": ("text",),
}
"""Standard columns of each format, in the order in which they are looked for."""

_CONVERSATION = frozenset(("system", "tools", "functions"))
_READ: dict[Format, frozenset[str]] = {
    "Chat": _CONVERSATION,
    "ShareGPT": _CONVERSATION,
    "PromptCompletion": _CONVERSATION,
    "Alpaca": _CONVERSATION | {"input"},
    "Text": frozenset(),
}

STANDARD = frozenset(name for names in REQUIRED.values() for name in names) | _CONVERSATION | {"input"}
"""Names that ``dataset.columns`` may map."""

_MEDIA = frozenset(("image", "images", "video", "videos", "audio", "audios"))
_MEANING = frozenset(
    ("history", "context", "documents", "question", "reasoning", "reasoning_content", "thinking", "weight")
)
"""Columns that may be part of what is told or learned, and that no format reads."""

_PREFERENCE = frozenset(("chosen", "rejected", "label"))

KNOWN = STANDARD | _MEDIA | _MEANING | _PREFERENCE
"""Names that are looked at; other columns are not decoded."""


def format_of(columns: Mapping[str, Any]) -> Format | None:
    """The first format whose columns have values."""
    return next((name for name, keys in REQUIRED.items() if all(key in columns for key in keys)), None)


def require_sft(columns: Mapping[str, Any], name: str) -> None:
    """Refuse rows of preference methods; raises DataInvalid."""
    if "chosen" in columns and "rejected" in columns:
        what = "chosen and rejected answers"
    elif "prompt" in columns and isinstance(columns.get("label"), bool):
        what = "answers with a label that is true or false"
    else:
        return
    raise DataInvalid(
        f"{name} has {what}: such rows are for preference methods (DPO, KTO), which come later. To learn the "
        "good answers alone, give them as completion."
    )


def require_readable(columns: Mapping[str, Any], kind: Format) -> None:
    """Refuse columns that change what a row means, and that its format cannot take; raises Findings."""
    for key in columns:
        if key in _MEDIA and columns[key]:
            raise _unread(f"The row has {key}; only text can be trained on. Remove the column.")
        if kind == "Text" and key in _CONVERSATION and columns[key]:
            raise _unread(f"The row has {key} beside text, where it is not learned. Write it into the text.")
        if kind == "Alpaca" and key == "history" and columns[key]:
            raise _unread("The row has a history, which is not read. Write the row as messages.")


def unread(columns: Mapping[str, Any], kind: Format) -> set[str]:
    """Columns with a value that the format does not read."""
    return {key for key in columns if key not in REQUIRED[kind] and key not in _READ[kind]}


def may_matter(names: set[str]) -> list[str]:
    """Those of unread columns that may be part of what the model is told, or should learn."""
    return sorted(names & (_MEANING | STANDARD))


def _unread(message: str) -> Findings:
    return Findings([Finding("unsupported_column", message)])
