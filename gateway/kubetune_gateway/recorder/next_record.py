"""From a FineTuneJob to its record, and when that is written. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kubetune.vocabulary.json_values import dict_of

from ..archive.kept import Kept, Record, deleted_at, seen, trimmed
from ..jobs.events import events
from ..jobs.record import record
from ..jobs.status import status_of
from ..wire.jobs import ENDED, FineTuningJob
from .feed import Raw, is_going


def outline(raw: Raw) -> str:
    """Digest of what is worth a look at a job: what clients are told, but for what changes all the time."""
    progress = dict_of(dict_of(raw.get("status")).get("progress"))
    told: list[Any] = [
        record(raw).model_dump(mode="json", exclude={"estimated_finish"}),
        [event.model_dump(mode="json") for event in events(raw)],
        progress.get("lastCheckpointStep"),  # trained tokens are at most this old
        is_going(raw),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def next_record(before: Kept | None, raw: Raw, *, is_gone: bool, now: int) -> tuple[Record, FineTuningJob]:
    """The record of a job as it is now, the result file of before with it; and what is told of it.

    The same as before where nothing has changed that clients are told of.
    """
    old = None if before is None else before.record
    latest = trimmed(raw) if old is None else _latest(old, raw, is_gone=is_gone)
    found = Record(raw=latest) if old is None else old.model_copy(update={"raw": latest})
    gone = (None if old is None else old.deleted_at) or deleted_at(raw, now)
    found = found.model_copy(update={"deleted_at": gone if is_gone else None})
    kept = Kept(record=found, cancelled=None if before is None else before.cancelled)
    shown = seen(None if is_gone else raw, kept)
    assert shown is not None  # there is a record
    told = shown.told
    if told.status in ENDED and told.status not in found.ended_at:
        ended = {**found.ended_at, told.status: told.finished_at or now}
        found = found.model_copy(update={"ended_at": ended})
    return found, told


def _latest(old: Record, raw: Raw, *, is_gone: bool) -> dict[str, Any]:
    """The object to keep."""
    if status_of(old.raw) == "succeeded" and status_of(raw) not in ENDED:
        return old.raw  # a server that is away a while does not take back that a job has succeeded
    is_same = not is_gone and outline(old.raw) == outline(raw)
    return old.raw if is_same else trimmed(raw)
