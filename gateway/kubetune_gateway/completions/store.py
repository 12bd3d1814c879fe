"""Stored completions in S3: one object each, and beside it an empty one whose key has the time.

The second one is written last and deleted first: by it completions are found, in the order of their times.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from ..store.bucket import Bucket
from ..store.places import Places
from ..wire.errors import not_found
from .record import ID, Stored, matches

_AT_ONCE: Final = 100
"""Completions that are looked at together where some are chosen."""


class Completions:
    """Those of all namespaces."""

    def __init__(self, bucket: Bucket, places: Places) -> None:
        self._bucket = bucket
        self._places = places

    async def add(self, namespace: str, stored: Stored) -> bool:
        """Keep one; False where its id cannot be kept, or there is one of it."""
        if not ID.fullmatch(stored.id):
            return False
        body = stored.model_dump_json().encode()
        if not await self._bucket.put_once(self._body(namespace, stored.id), body):
            return False
        await self._bucket.put(self._mark(namespace, stored), b"")
        return True

    async def get(self, namespace: str, id_: str) -> Stored:
        """One. Raises ApiError where there is none of this id in the namespace."""
        body = await self._bucket.get(self._body(namespace, id_)) if ID.fullmatch(id_) else None
        if body is None:
            raise not_found("stored completion", id_)
        return Stored.model_validate_json(body)

    async def change(self, namespace: str, id_: str, metadata: Mapping[str, str] | None) -> Stored:
        """Give one other pairs."""
        changed = (await self.get(namespace, id_)).model_copy(update={"metadata": metadata})
        await self._bucket.put(self._body(namespace, id_), changed.model_dump_json().encode())
        return changed

    async def delete(self, namespace: str, id_: str) -> None:
        """Delete one. Raises ApiError where there is none."""
        stored = await self.get(namespace, id_)
        await self._bucket.delete(self._mark(namespace, stored), self._body(namespace, id_))

    async def chosen(
        self,
        namespace: str,
        *,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
        newest_first: bool = False,
    ) -> AsyncIterator[Stored]:
        """Those of a model, with these pairs, that come after one; the oldest first.

        One that is not there (any more) to come after begins anew, as in other lists.
        """
        ids = await self._ids(namespace, newest_first=newest_first)
        begin = ids.index(after) + 1 if after in ids else 0
        for first in range(begin, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            bodies = await self._bucket.get_all(self._body(namespace, id_) for id_ in some)
            for stored in map(Stored.model_validate_json, bodies):
                if matches(stored, model=model, metadata=metadata):
                    yield stored

    async def _ids(self, namespace: str, *, newest_first: bool) -> Sequence[str]:
        marks = [key async for key in self._bucket.keys(f"{self._places.completions(namespace)}times/")]
        ids = [mark.rpartition("/")[2].partition("_")[2] for mark in marks]
        return ids[::-1] if newest_first else ids

    def _body(self, namespace: str, id_: str) -> str:
        return f"{self._places.completions(namespace)}{id_}.json"

    def _mark(self, namespace: str, stored: Stored) -> str:
        return f"{self._places.completions(namespace)}times/{stored.created:012d}_{stored.id}"
