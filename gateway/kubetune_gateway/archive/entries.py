"""Jobs of a list, put into OpenAI's words only when they are on the page that is asked for. Pure.

There may be thousands, and while they are told of no token of any stream passes the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ids import job_id
from ..jobs.record import NOTHING, created_at, metadata_of, record
from ..wire.jobs import FineTuningJob
from .kept import unsettled
from .store import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A job whose FineTuneJob is there: what lists are sorted and chosen by, and what it is told from."""

    id: str
    created_at: int
    """Unix seconds."""
    raw: Mapping[str, Any]
    """The FineTuneJob."""
    kept: Summary | None

    @property
    def metadata(self) -> Mapping[str, str] | None:
        """The client's own pairs."""
        return metadata_of(self.raw)

    def told(self, *, now: float) -> FineTuningJob:
        """In OpenAI's words."""
        ended_at, beside = ({}, NOTHING) if self.kept is None else (self.kept.ended_at, self.kept.beside)
        return record(unsettled(self.raw, ended_at, now), beside)


Entry = Live | FineTuningJob
"""A job that is there, or one that was."""


def newest_first(live: Iterable[Mapping[str, Any]], kept: Mapping[str, Summary]) -> list[Entry]:
    """FineTuneJobs, and what is kept of jobs by their uid, of which some are there no more."""
    objects = {raw["metadata"]["uid"]: raw for raw in live}
    found: list[Entry] = [
        Live(id=job_id(uid), created_at=created_at(raw), raw=raw, kept=kept.get(uid))
        for uid, raw in objects.items()
    ]
    found += [one.job for uid, one in kept.items() if uid not in objects]
    return sorted(found, key=lambda entry: (entry.created_at, entry.id), reverse=True)
