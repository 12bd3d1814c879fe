"""Kubernetes Events of a FineTuneJob: one for each transition of a condition's reason, and no other. Pure.

Stalled and Reconciling tell causes, a stage's condition that it is reached. A stage that is reached tells
that the next one begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..vocabulary.reasons import ConditionType, Reason, facts_of

_CAUSES: Final = (ConditionType.STALLED, ConditionType.RECONCILING)
_SUMMARIES: Final = (ConditionType.READY, *_CAUSES)
"""Conditions that are no stage's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNote:
    """An Event to emit about the FineTuneJob."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def transitions(
    old_conditions: Sequence[Mapping[str, Any]], new_conditions: Sequence[Mapping[str, Any]]
) -> tuple[EventNote, ...]:
    """Say what changed between two lists of status.conditions, each cause once."""
    before = {condition.get("type"): condition for condition in old_conditions}
    news = [c for c in new_conditions if not _is_same(before.get(c.get("type")), c)]
    reached = [c for c in news if c.get("type") not in _SUMMARIES and c.get("status") == "True"]
    causes = [c for c in news if c.get("type") in _CAUSES and c.get("status") == "True"]
    return (*_causes(causes, new_conditions, goes_on=bool(reached)), *map(_reached, reached))


def _causes(
    causes: Sequence[Mapping[str, Any]], conditions: Sequence[Mapping[str, Any]], *, goes_on: bool
) -> Iterator[EventNote]:
    for condition in causes:
        reason = str(condition.get("reason", ""))
        if goes_on and facts_of(reason).begins:
            continue
        if reason == Reason.RETRYING:
            reason = _end_of_last_run(conditions)
        normal = facts_of(reason).normal and condition["type"] != ConditionType.STALLED
        yield EventNote(
            type="Normal" if normal else "Warning", reason=reason, message=str(condition.get("message", ""))
        )


def _reached(condition: Mapping[str, Any]) -> EventNote:
    kind, reason = str(condition.get("type")), str(condition.get("reason", ""))
    return EventNote(
        type="Normal" if facts_of(reason).normal else "Warning",
        reason=kind if reason == Reason.COMPLETED else reason,
        message=str(condition.get("message", "")),
    )


def _end_of_last_run(conditions: Sequence[Mapping[str, Any]]) -> str:
    """What the stage at hand gives as its reason while it is tried again: how its last run ended."""
    open_stages = (c for c in conditions if c.get("type") not in _SUMMARIES and c.get("status") != "True")
    return str(next((c.get("reason") for c in open_stages), Reason.RETRYING))


def _is_same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    return old is not None and (old.get("status"), old.get("reason")) == (
        new.get("status"),
        new.get("reason"),
    )
