"""Searches that end: patterns are users', and some would take longer than anyone waits."""

from __future__ import annotations

from typing import Final

import regex

from ..contract.errors import InvalidInput

SECONDS: Final = 1.0
"""Most that one search may take; an answer is short, and sound patterns take microseconds."""


def bounded_search(pattern: regex.Pattern[str] | str, text: str, what: str) -> regex.Match[str] | None:
    """Search a pattern of Python's; ``what`` it is begins the sentence of an error.

    Raises:
        InvalidInput: it does not end.
    """
    try:
        return regex.search(pattern, text, timeout=SECONDS)
    except TimeoutError:
        raise InvalidInput(
            f"{what} takes more than {SECONDS:g} s to search one answer: write it without repetitions inside "
            "of repetitions."
        ) from None
