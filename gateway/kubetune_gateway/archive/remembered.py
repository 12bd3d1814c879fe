"""A bounded memory for what cannot change. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = tuple[str, ...]
_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """Values by what cannot change: those that were used last, as far as they fit."""

    def __init__(self, most: int, size: Callable[[_Value], int] = lambda value: 1) -> None:
        self._most = most
        self._size = size
        self._held = 0
        self._values: OrderedDict[Key, _Value] = OrderedDict()

    def get(self, key: Key) -> _Value | None:
        """What is remembered."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def put(self, key: Key, value: _Value) -> None:
        """Remember it."""
        if key not in self._values:
            self._held += self._size(value)
            self._values[key] = value
        while self._held > self._most and self._values:
            self._held -= self._size(self._values.popitem(last=False)[1])
