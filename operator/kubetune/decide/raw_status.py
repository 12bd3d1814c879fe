"""A status as JSON with some of its conditions replaced: where the rest cannot be computed, it stays. Pure.

Total: whatever the old status holds never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..api.conditions import MESSAGE_LIMIT, ConditionStatus
from ..vocabulary.reasons import Reason
from ..vocabulary.times import parse_time, rfc3339


@dataclass(frozen=True, slots=True)
class Told:
    """What a condition says."""

    truth: ConditionStatus
    reason: Reason
    message: str


def conditions_in(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions of a status by their types; what is none is left out."""
    found = status.get("conditions")
    known = [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []
    return {c["type"]: c for c in known if isinstance(c.get("type"), str)}


def with_conditions(
    status: Mapping[str, Any],
    told: Mapping[str, Told | None],
    *,
    generation: int,
    now: datetime,
) -> dict[str, Any]:
    """Return the status with these conditions first; None removes one, the others stay as they are."""
    known = conditions_in(status)
    new = [_condition(type_, said, known, generation, now) for type_, said in told.items() if said]
    others = [condition for type_, condition in known.items() if type_ not in told]
    return {**status, "observedGeneration": generation, "conditions": [*new, *others]}


def _condition(
    type_: str, said: Told, known: Mapping[str, Mapping[str, Any]], generation: int, now: datetime
) -> dict[str, Any]:
    before = known.get(type_, {})
    since = before.get("lastTransitionTime") if before.get("status") == said.truth else None
    return {
        "type": str(type_),
        "status": said.truth,
        "observedGeneration": generation,
        "lastTransitionTime": since if parse_time(since) else rfc3339(now),
        "reason": said.reason.value,
        "message": said.message[:MESSAGE_LIMIT],
    }
