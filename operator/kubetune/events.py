"""Kubernetes Events of a FineTuneJob: one for each transition of a condition's reason, and no other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNote:
    """An Event to emit about the FineTuneJob."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def transitions(
    old_conditions: Sequence[Mapping[str, Any]], new_conditions: Sequence[Mapping[str, Any]]
) -> tuple[EventNote, ...]:
    """Say what changed between two lists of status.conditions."""
    raise NotImplementedError
