"""Which characters are punctuation by Unicode, without those of rare scripts."""

from __future__ import annotations

import unicodedata
from functools import cache


@cache
def punctuation() -> str:
    """All of the basic plane; with the planes beyond, patterns of it would be ten times slower."""
    return "".join(mark for mark in map(chr, range(2**16)) if unicodedata.category(mark).startswith("P"))
