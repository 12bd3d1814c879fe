"""Kubernetes Events of a FineTuneJob: one for each transition of a condition's reason, and no other. Pure.

Ready, Stalled and Reconciling repeat what another condition says first; of them only Stalled and what no
stage tells become Events. A stage that is reached tells that the next one begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..vocabulary.reasons import ConditionType, Reason

NORMAL: Final = frozenset(
    {
        Reason.PREPARING,
        Reason.TRAINING,
        Reason.DEPLOYING,
        Reason.WAITING_FOR_EARLIER_PODS,
        Reason.COMPLETED,
        Reason.ARTIFACT_ADOPTED,
        Reason.SERVING,
        Reason.PREEMPTED,
    }
)
"""Everything else asks for a person's attention."""


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
    goes_on = any(
        c.get("type") in _STAGES and c.get("status") == "True" and not _is_same(before.get(c["type"]), c)
        for c in new_conditions
    )
    notes: dict[str, EventNote] = {}
    for condition in new_conditions:
        kind, reason = str(condition.get("type")), str(condition.get("reason", ""))
        if kind not in _TOLD or _is_same(before.get(kind), condition):
            continue
        message = str(condition.get("message", ""))
        told = notes.get(message)
        if told is not None and told.reason != Reason.RETRYING:
            continue  # one cause shows in several conditions
        if goes_on and reason in _BEGINNINGS:
            continue
        normal = reason in NORMAL and kind != ConditionType.STALLED
        notes[message] = EventNote(
            type="Normal" if normal else "Warning",
            reason=kind if reason == Reason.COMPLETED else reason,
            message=message,
        )
    return tuple(notes.values())


_BEGINNINGS: Final = (Reason.TRAINING, Reason.DEPLOYING)
_STAGES: Final = (ConditionType.PREPARED, ConditionType.TRAINED)

_TOLD: Final = (
    ConditionType.STALLED,
    ConditionType.RECONCILING,
    ConditionType.PREPARED,
    ConditionType.TRAINED,
    ConditionType.SERVED,
)


def _is_same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    return old is not None and (old.get("status"), old.get("reason")) == (
        new.get("status"),
        new.get("reason"),
    )
