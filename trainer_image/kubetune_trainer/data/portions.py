"""Groups rows so that a group takes a bounded amount of memory, whatever the size of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def portions(
    items: Iterable[T], *, size: Callable[[T], int], limit: int, count: int = 1000
) -> Iterator[list[T]]:
    """Yield items in order, in groups of at most ``count``, whose sizes add up to at most ``limit``."""
    portion: list[T] = []
    total = 0
    for item in items:
        added = size(item)
        if portion and (total + added > limit or len(portion) == count):
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += added
    if portion:
        yield portion
