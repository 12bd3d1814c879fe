"""Decodes JSON as strictly as rows need it: a key stands once, and numbers can be written as JSON again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 100
"""Levels of lists and objects within each other. More are no data, and readers go down one by one."""


class DuplicateKey(ValueError):  # noqa: N818 - named like what it says of a row
    """An object has a key twice, of which one value would be lost."""

    def __init__(self, key: str) -> None:
        super().__init__(f"an object has the key {key[:40]!r} twice")


def decode(text: str | bytes) -> Any:
    """The value of JSON text.

    Raises:
        DuplicateKey, json.JSONDecodeError, ValueError, RecursionError: it is none, or none that can be read.
    """
    value = json.loads(text, object_pairs_hook=once)
    if is_deep(value, text):
        raise RecursionError
    return value


def is_deep(value: Any, text: str | bytes) -> bool:
    """Whether there are more than MAX_DEPTH levels within a value that was read from this text."""
    opening = (
        text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    )
    if opening <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these keys and values; raises DuplicateKey."""
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey(key)
            seen.add(key)
    return value


def decoded(value: Any) -> Any:
    """What text holds if it is JSON, else the value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return decode(value)
    except DuplicateKey:
        raise
    except (ValueError, RecursionError):
        return value


def is_finite(value: Any) -> bool:
    """Whether all numbers within are JSON: NaN and Infinity, which Python reads, are not."""
    return all(math.isfinite(leaf) for leaf in leaves(value) if isinstance(leaf, float))


def leaves(value: Any) -> Iterator[Any]:
    """Keys and values within that are neither objects nor lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def without_nulls(value: Any) -> Any:
    """Leave out keys that are null: Parquet, SDKs and ``to_json`` give every object the keys of all others.

    Of messages ``content`` stays, which is null beside calls.
    """
    if isinstance(value, dict):
        return {
            key: without_nulls(item)
            for key, item in value.items()
            if item is not None or (key == "content" and "role" in value)
        }
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def kind_of(value: object) -> str:
    """What a JSON value is, for a sentence."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
