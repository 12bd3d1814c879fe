"""Text of anybody within a page: nothing in it is markup, and nothing in it cannot be seen."""

from __future__ import annotations

import html
import unicodedata
from typing import Final

_REORDERING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that are not seen, and change the order of those that are."""


def escaped(text: str) -> str:
    """Text as HTML shows it, and all of it visible."""
    return html.escape(visible(text))


def visible(text: str) -> str:
    """Text with control characters, reordering ones and halves of surrogates spelled out."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if character in _REORDERING or unicodedata.category(character) in ("Cc", "Cs"):
        return character.encode("unicode_escape").decode()
    return character
