"""Sentences for people: conditions and Events say what happened, where, and what to do. Pure."""

from __future__ import annotations

from typing import Final

_LIMIT: Final = 240


def sentences(*texts: str) -> str:
    """Join texts, each with its full stop."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in filter(None, texts))


def shortened(text: str, *, limit: int = _LIMIT) -> str:
    """One line of bounded length, without a full stop at its end."""
    line = " ".join(text.split()).rstrip(". ")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
