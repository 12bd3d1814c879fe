"""Status of a FineTuneJob whose spec cannot even be parsed: nothing else is known about it. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..facts.views import Raw
from ..vocabulary.errors import SpecError
from ..vocabulary.reasons import ConditionType, Reason
from ..vocabulary.times import rfc3339


def invalid_status(raw: Raw, error: SpecError, *, now: datetime) -> dict[str, Any]:
    """Keep the old status, with the conditions that say what is wrong."""
    old = raw.get("status") or {}
    generation = raw["metadata"].get("generation", 0)
    new = {
        ConditionType.READY: "False",
        ConditionType.RECONCILING: "False",
        ConditionType.STALLED: "True",
    }
    known = {c.get("type"): c for c in old.get("conditions") or ()}
    conditions = []
    for type_, status in new.items():
        before = known.get(type_, {})
        same = before.get("status") == status
        conditions.append(
            {
                "type": type_.value,
                "status": status,
                "observedGeneration": generation,
                "lastTransitionTime": before["lastTransitionTime"] if same else rfc3339(now),
                "reason": Reason.INVALID_SPEC.value,
                "message": str(error)[:4096],
            }
        )
    others = [c for type_, c in known.items() if type_ not in new]
    return {**old, "observedGeneration": generation, "conditions": [*conditions, *others]}
