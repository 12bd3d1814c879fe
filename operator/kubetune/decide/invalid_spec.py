"""Status of a FineTuneJob whose spec cannot even be parsed: nothing else is known about it. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..facts.views import Raw
from ..vocabulary.errors import SpecError
from ..vocabulary.reasons import ConditionType, Reason
from .abstract import with_abstract
from .raw_status import Told, with_conditions


def invalid_status(raw: Raw, error: SpecError, *, now: datetime) -> dict[str, Any]:
    """Keep the old status, with the conditions that say what is wrong."""
    status = with_conditions(
        raw.get("status") or {},
        {
            ConditionType.READY: Told("False", Reason.INVALID_SPEC, "The spec is invalid: Stalled says why."),
            ConditionType.RECONCILING: None,
            ConditionType.STALLED: Told("True", Reason.INVALID_SPEC, str(error)),
        },
        generation=raw["metadata"].get("generation", 0),
        now=now,
    )
    return with_abstract(status)
