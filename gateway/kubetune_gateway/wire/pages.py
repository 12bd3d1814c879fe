"""Pages of a list: what comes after an id, and whether there is more. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from .jobs import Wire


class Listed(Protocol):
    """What lists hold."""

    @property
    def id(self) -> str:
        """By which the next page is asked for."""


_Item = TypeVar("_Item", bound=Listed)
_Told = TypeVar("_Told")


class Page(Wire, Generic[_Told]):
    """A page of a list."""

    object: Literal["list"]
    data: tuple[_Told, ...]
    first_id: str | None
    last_id: str | None
    """By which the next page is asked for, as `after`."""
    has_more: bool


class Deleted(Wire):
    """Something is gone."""

    id: str
    object: str
    deleted: Literal[True]


def page(items: Sequence[_Item], *, after: str | None, limit: int) -> dict[str, Any]:
    """Return at most ``limit`` items that come after the one with this id, in the list's order.

    An id that is not there (any more) begins anew: a client that pages while jobs are deleted must not fail.
    """
    places = {item.id: place for place, item in enumerate(items)}
    first = places[after] + 1 if after in places else 0
    chosen = items[first : first + max(0, limit)]
    return {
        "object": "list",
        "data": [item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in chosen],
        "first_id": chosen[0].id if chosen else None,
        "last_id": chosen[-1].id if chosen else None,
        "has_more": first + len(chosen) < len(items),
    }
