"""Text of strangers as people may be shown it: pods, nodes, webhooks and people say what they like. Pure.

Terminals obey it, and eyes are misled: colours and cursors, line ends that make one message look like two,
characters that reorder or hide others. It is cleaned where it enters, and once more where sentences are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

MOST: Final = 8192
"""Characters that are kept of one text; the kubelet keeps half of it."""

_COMMAND: Final = re.compile(
    "\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # colours, cursors
    "|[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)"  # titles, links, clipboards, with their text
    "|[ -/]*[0-~]"
    ")|\x9b[0-?]*[ -/]*[@-~]"
)
"""What a terminal obeys."""

_LINE_END: Final = re.compile("\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u070f\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f]"
)
"""Control characters, halves of characters, and what is not seen. Joiners of letters and emoji stay."""

_INSTEAD: Final = "\ufffd"


def plain(text: str) -> str:
    """Text as one line, of which every character is seen."""
    return " ".join(plain_lines(text).split())


def plain_lines(text: str) -> str:
    """Text of which every character is seen; its lines stay."""
    text = _LINE_END.sub("\n", _COMMAND.sub("", text[:MOST]))
    return _HIDDEN.sub(_INSTEAD, text.replace("\t", " "))


def all_plain(value: Any, clean: Callable[[str], str] = plain) -> Any:
    """JSON with every text within cleaned, keys included."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {all_plain(key, clean): all_plain(item, clean) for key, item in value.items()}
        case list() | tuple():
            return [all_plain(item, clean) for item in value]
        case _:
            return value
