"""Names of metrics in PromQL, without a parser: enough for queries that are known to be well-formed."""

from __future__ import annotations

import re

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_SELECTORS = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
_NAMES = re.compile(r"(?<![\w:])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS = {"or", "and", "unless", "bool", "offset", "by", "without", "on", "ignoring", "inf", "nan"}


def metric_names(expr: str) -> set[str]:
    """Return the metrics that a query reads."""
    bare = _SELECTORS.sub("", _LISTS.sub("", _STRINGS.sub("", expr)))
    return {name for name in _NAMES.findall(bare) if name.lower() not in _WORDS}
