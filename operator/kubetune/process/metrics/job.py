"""A FineTuneJob as the index has it, for what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...cluster.index import Index
from ...facts.views import Kind, Raw, View
from ...vocabulary.json_values import dict_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One FineTuneJob; its status may be one that another version wrote."""

    raw: Raw
    namespace: str
    name: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    children: tuple[View, ...]
    """Its own, not those of an earlier job of this name."""

    @classmethod
    def of(cls, raw: Raw, children: Iterable[View] = ()) -> Job:
        """Take it as the API server has it."""
        meta = dict_of(raw.get("metadata"))
        return cls(
            raw=raw,
            namespace=text_of(meta.get("namespace")),
            name=text_of(meta.get("name")),
            spec=dict_of(raw.get("spec")),
            status=dict_of(raw.get("status")),
            children=tuple(view for view in children if view.owner_uid == meta.get("uid")),
        )


def jobs_of(index: Index) -> Iterator[Job]:
    """All FineTuneJobs that there are now."""
    for key, raw in index.parents():
        if key.kind is Kind.FINE_TUNE_JOB:
            yield Job.of(raw, index.children(key))
