"""status.conditions: one condition, and how a new set is merged into the old. Pure; ``now`` is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kubetune.api.base import INT64_MAX, StatusModel, Time, clipped

ConditionStatus = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 4096
"""Characters of a condition's message; longer ones are cut."""

CamelCase = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=64)]


class Condition(StatusModel):
    """One observation about the job."""

    type: CamelCase
    """What is observed: Ready, Reconciling, Stalled, or what a stage has reached, such as Served."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: int | None = Field(default=None, ge=0, le=INT64_MAX)
    """Generation of the spec that was observed."""
    last_transition_time: Time
    """When status changed last."""
    reason: CamelCase
    """Why, in one word; a closed set."""
    message: Annotated[str, clipped(MESSAGE_LIMIT), StringConstraints(max_length=MESSAGE_LIMIT)] = ""
    """Why, as a sentence: what happened, where, what to change."""


def find_condition(conditions: Iterable[Condition], condition_type: str) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((condition for condition in conditions if condition.type == condition_type), None)


def is_true(conditions: Iterable[Condition], condition_type: str) -> bool:
    """Whether the condition of this type is True."""
    condition = find_condition(conditions, condition_type)
    return condition is not None and condition.status == "True"


def new_condition(
    condition_type: str,
    status: ConditionStatus,
    *,
    reason: str,
    message: str = "",
    generation: int,
    now: datetime,
) -> Condition:
    """A condition that has just become so."""
    return Condition(
        type=condition_type,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=now.replace(microsecond=0),
    )


def merge_conditions(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """The new set, with the old transition time wherever the status is the same.

    A type that the new set lacks is dropped. Order is the new set's, so that equal sets serialise equally.
    """
    before = {condition.type: condition for condition in old}
    return tuple(_keep_time(before.get(condition.type), condition) for condition in new)


def set_condition(conditions: Iterable[Condition], condition: Condition) -> tuple[Condition, ...]:
    """The set with this condition in the place of the one of its type, or at the end."""
    present = tuple(conditions)
    if find_condition(present, condition.type) is None:
        return (*present, condition)
    return tuple(_keep_time(old, condition) if old.type == condition.type else old for old in present)


def _keep_time(old: Condition | None, new: Condition) -> Condition:
    if old is None or old.status != new.status:
        return new
    return new.model_copy(update={"last_transition_time": old.last_transition_time})
