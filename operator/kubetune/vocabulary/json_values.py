"""Values of raw JSON as a type, whatever they are: null, or of another type, is nothing. Pure and total."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def dict_of(value: object) -> dict[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def dicts_of(value: object) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def text_of(value: object) -> str:
    """The text, or an empty one."""
    return value if isinstance(value, str) else ""


def texts_of(value: object) -> list[str]:
    """The texts of a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def int_of(value: object) -> int:
    """The number, also one that is written as text as in labels, or 0."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


def number_of(value: object) -> float | None:
    """The number, also a decimal that is written as text; None where there is no finite one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def condition_in(status: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """The condition of that type in an object's status; empty when there is none."""
    return next((c for c in dicts_of(status.get("conditions")) if c.get("type") == type_), {})
