"""A job as it is kept, and who is believed: while there is a FineTuneJob, it is the truth. Pure.

Two objects are kept of a job, each with one writer: its record, by the recorder, and that a client has
cancelled it, by whichever replica was asked. The second one is never changed, and holds once it is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from kubetune.vocabulary.json_values import dict_of, dicts_of, text_of
from kubetune.vocabulary.reasons import ConditionType
from kubetune.vocabulary.times import parse_time

from ..ids import results_id
from ..jobs.record import NOTHING, Beside, record
from ..jobs.remembered import GROUP
from ..jobs.status import finished_at, status_of
from ..wire.jobs import ENDED, FineTuningJob, Status, Wire

MOST_BYTES: Final = 256 * 1024
"""Of an object that is kept whole. Of a larger one there is what clients are told."""

_TOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "spec": ("model", "dataset", "training"),
    "status": ("stage", "conditions", "plan", "progress", "attempts", "evaluation", "artifact"),
}
SETTLES_WITHIN: Final = 30.0
"""Seconds in which the recorder keeps a job's end, if all is well."""

_ENDS: Final = (ConditionType.READY, ConditionType.STALLED)
_META: Final = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation")


class Record(Wire):
    """A job as the recorder saw it last."""

    raw: dict[str, Any]
    """The FineTuneJob."""
    deleted_at: int | None = None
    """When it was deleted, in Unix seconds; None while it is there."""
    results: str | None = None
    """Digest of the result file that was made; None: none was."""
    ended_at: dict[Status, int] = Field(default_factory=dict)
    """When it first came to each end, in Unix seconds."""


class Cancelled(Wire):
    """That a client has cancelled a job."""

    raw: dict[str, Any]
    """The FineTuneJob as it was then."""
    cancelled_at: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All that is kept of one job but what was measured; there is at least one of the two."""

    record: Record | None = None
    cancelled: Cancelled | None = None

    @property
    def raw(self) -> dict[str, Any]:
        """The FineTuneJob as it was seen last."""
        last = self.record or self.cancelled
        return {} if last is None else last.raw

    @property
    def ended_at(self) -> Mapping[Status, int]:
        """When it first came to each end, in Unix seconds, as far as that is kept."""
        return {} if self.record is None else self.record.ended_at

    @property
    def is_complete(self) -> bool:
        """Whether nothing will change any more, as the FineTuneJob is gone."""
        return self.record is not None and self.record.deleted_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A job as it is told of."""

    raw: Mapping[str, Any]
    """The FineTuneJob, as it is or was last."""
    beside: Beside = NOTHING

    @property
    def told(self) -> FineTuningJob:
        """In OpenAI's words."""
        return record(self.raw, self.beside)


def seen(live: Mapping[str, Any] | None, kept: Kept | None) -> Seen | None:
    """A job from its FineTuneJob, if that is there, and from what is kept; None where there is neither."""
    if kept is None:
        return None if live is None else Seen(raw=live)
    return Seen(raw=kept.raw if live is None else live, beside=beside(kept, is_live=live is not None))


def unsettled(raw: Mapping[str, Any], ended_at: Mapping[Status, int], now: float) -> Mapping[str, Any]:
    """A FineTuneJob that has ended as it was right before, until the recorder has kept its end.

    Clients read the result file once a job has ended, and the recorder makes it. Where nobody records, the
    end is told all the same, after half a minute.
    """
    when = parse_time(finished_at(raw))
    if when is None or status_of(raw) in ended_at or now - when.timestamp() > SETTLES_WITHIN:
        return raw
    status = dict_of(raw.get("status"))
    left = [each for each in dicts_of(status.get("conditions")) if each.get("type") not in _ENDS]
    return {**raw, "status": {**status, "conditions": left}}


def beside(kept: Kept, *, is_live: bool) -> Beside:
    """What is known beside a FineTuneJob: a job that was deleted before its end is cancelled."""
    cancelled_at = None if kept.cancelled is None else kept.cancelled.cancelled_at
    has_results = kept.record is not None and kept.record.results is not None
    if not is_live and cancelled_at is None and kept.record is not None and status_of(kept.raw) not in ENDED:
        cancelled_at = kept.record.deleted_at
    uid = text_of(dict_of(kept.raw.get("metadata")).get("uid"))
    return Beside(cancelled_at=cancelled_at, result_file=results_id(uid) if has_results else None)


def trimmed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a FineTuneJob: without what only the API server needs, and of bounded size."""
    meta = dict_of(raw.get("metadata"))
    notes = {
        name: value
        for name, value in dict_of(meta.get("annotations")).items()
        if name.startswith(f"{GROUP}/")
    }
    kept: dict[str, Any] = {
        **{name: value for name, value in raw.items() if name != "metadata"},
        "metadata": {**{name: meta[name] for name in _META if name in meta}, "annotations": notes},
    }
    if len(json.dumps(kept)) <= MOST_BYTES:
        return kept
    return kept | {
        block: {name: value for name, value in dict_of(raw.get(block)).items() if name in names}
        for block, names in _TOLD.items()
    }


def deleted_at(raw: Mapping[str, Any], now: int) -> int:
    """When an object that is gone was deleted: as the API server told, else now."""
    told = parse_time(dict_of(raw.get("metadata")).get("deletionTimestamp"))
    return now if told is None else int(told.timestamp())
