"""Reads the API server's answers: objects that can be told apart and lists that are whole, or it is an error.

What lacks a part is not acted on: a missing item of a list would be an object that is gone, and its children
would be made twice. A proxy in between, or an aggregated API, is where such answers come from.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from ...facts.views import Raw
from ...vocabulary.errors import TransientError
from .errors import Target, from_failure


def decode(target: Target, payload: bytes) -> Raw:
    """Decode the body of an answer."""
    try:
        answer = from_json(payload)  # in half the time of the standard library's, and objects are large
    except ValueError as error:
        raise from_failure(target, error) from error
    if not isinstance(answer, dict):
        raise TransientError(f"{target}: the answer is not an object")
    return answer


def an_object(target: Target, answer: Raw) -> Raw:
    """Return an answer that is an object with an identity."""
    if not _has_identity(answer):
        raise TransientError(f"{target}: the answer is an object without metadata.name or metadata.uid")
    return answer


def items_of(target: Target, answer: Raw) -> list[dict[str, Any]]:
    """Items of a list that is whole; null is an empty one, as Go writes it."""
    meta = answer.get("metadata")
    if isinstance(meta, dict) and meta.get("continue"):
        raise TransientError(f"{target}: the list ends before its end")  # nothing was asked in parts
    items = answer.get("items", "none")
    if items is None:
        return []
    if not isinstance(items, list):
        raise TransientError(f"{target}: the answer is not a list")
    if not all(map(_has_identity, items)):
        raise TransientError(f"{target}: an item of the list has no metadata.name or metadata.uid")
    return items


def version_of(target: Target, answer: Raw) -> int:
    """Version at which a list was true."""
    meta = answer.get("metadata")
    version = meta.get("resourceVersion") if isinstance(meta, dict) else None
    try:
        return int(version or "")
    except (TypeError, ValueError):
        raise TransientError(f"{target}: {version!r} is not the version of a list") from None


def _has_identity(value: object) -> bool:
    meta = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(meta, dict):
        return False
    return all(isinstance(meta.get(part), str) and meta[part] for part in ("name", "uid"))
