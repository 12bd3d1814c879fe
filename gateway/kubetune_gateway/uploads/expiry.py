"""What is deleted unasked: what has expired, and what replicas left behind that were killed.

It touches only keys that the gateway itself makes: the bucket may hold other things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from ..files.record import Kept
from ..ids import is_file_id, is_upload_id
from ..store.bucket import Bucket, Listed
from ..store.places import Places
from .record import Begun

ABANDONED: Final = timedelta(days=1)
"""After which nobody still writes what has no record yet."""
_GRACE: Final = timedelta(hours=1)
"""In which an upload that has expired may still be made a file of, as that was begun before."""

_BEGUN: Final = re.compile(
    r"[a-z0-9-]+/(files/file-[a-z2-7]{26}/content[.]jsonl|uploads/upload_[a-z2-7]{26}/parts/.+)"
)


async def expire(bucket: Bucket, places: Places, now: datetime) -> int:
    """Delete it, in all namespaces, and return how many objects and begun ones these were."""
    done = await bucket.abort_uploads(
        places.prefix,
        before=now - ABANDONED,
        chosen=lambda key: _BEGUN.fullmatch(key.removeprefix(places.prefix)) is not None,
    )
    for folder in await bucket.folders(places.prefix):
        namespace = folder.removeprefix(places.prefix).rstrip("/")
        if not namespace.startswith("_"):
            keys = [
                *await _files(bucket, places.folder(namespace), now),
                *await _uploads(bucket, places.uploads(namespace), now),
            ]
            await bucket.delete(*keys)
            done += len(keys)
    return done


async def _files(bucket: Bucket, folder: str, now: datetime) -> list[str]:
    """Keys of files that have expired, the record before the bytes, and of bytes that never got a record."""
    by_id = await _by_id(bucket, folder, is_file_id)
    bodies = await bucket.get_all(f"{folder}{id_}/record.json" for id_ in by_id)
    has_expired = {kept.file.id: kept.has_expired(now) for kept in map(Kept.model_validate_json, bodies)}
    return sorted(_over(by_id, has_expired, now), key=lambda key: not key.endswith("/record.json"))


async def _uploads(bucket: Bucket, folder: str, now: datetime) -> list[str]:
    """Keys of uploads that have expired, and of parts whose upload is gone."""
    by_id = await _by_id(bucket, folder, is_upload_id)
    bodies = await bucket.get_all(f"{folder}{id_}/record.json" for id_ in by_id)
    begun = map(Begun.model_validate_json, bodies)
    return _over(by_id, {one.upload.id: one.has_expired(now - _GRACE) for one in begun}, now)


def _over(by_id: Mapping[str, list[Listed]], has_expired: Mapping[str, bool], now: datetime) -> list[str]:
    """Keys of what has expired; without a record, of what is old enough."""
    return [
        found.key
        for id_, objects in by_id.items()
        if (has_expired[id_] if id_ in has_expired else _is_abandoned(objects, now))
        for found in objects
    ]


async def _by_id(bucket: Bucket, folder: str, is_id: Callable[[str], bool]) -> dict[str, list[Listed]]:
    """Objects of a folder, by the ids that folders in it have for names."""
    found: dict[str, list[Listed]] = {}
    async for one in bucket.objects(folder):
        id_ = one.key.removeprefix(folder).partition("/")[0]
        if is_id(id_):
            found.setdefault(id_, []).append(one)
    return found


def _is_abandoned(objects: list[Listed], now: datetime) -> bool:
    return all(found.changed < now - ABANDONED for found in objects)
