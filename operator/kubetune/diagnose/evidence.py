"""What diagnoses are read from, and how they are said: pods, claims and Events in small readings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from ..facts.observed import Diagnosis
from ..facts.views import Raw
from ..vocabulary.json_values import condition_in
from ..vocabulary.reasons import Reason
from ..vocabulary.sentences import sentences
from ..vocabulary.times import parse_time

PATIENCE: Final = timedelta(seconds=30)
"""What may still come right by itself is not told before."""

SLOW: Final = timedelta(seconds=60)
"""A scheduler or provisioner that has not acted for so long may not be there."""


SeenFor = Callable[[str, str], timedelta]
"""How long, by the operator's own clock, it has seen something of an object: its uid, and what.

Times in objects are written by kubelets and controllers, whose clocks are not the operator's: they are told,
and compared only with each other. What is not asked for in a look was not seen in it, and begins anew.
"""


def found(reason: Reason, stage: str, what: str, remedy: str, *, stalled: bool = False) -> Diagnosis:
    """A diagnosis in two sentences: what is wrong, and what to do."""
    return Diagnosis(reason=reason, stage=stage, message=sentences(what, remedy), stalled=stalled)


def name_of(raw: Raw) -> str:
    """Name of an object."""
    return str((raw.get("metadata") or {}).get("name", ""))


def uid_of(raw: Raw) -> str:
    """What tells an object from others that had its name."""
    return str((raw.get("metadata") or {}).get("uid", ""))


def is_deleting(raw: Raw) -> bool:
    """Whether somebody has deleted the object, which is still there."""
    return "deletionTimestamp" in (raw.get("metadata") or {})


def created(raw: Raw) -> datetime | None:
    """When an object was made."""
    return parse_time((raw.get("metadata") or {}).get("creationTimestamp"))


def condition(raw: Raw, type_: str) -> Raw:
    """A condition of an object, empty when it has none of that type."""
    return condition_in(raw.get("status") or {}, type_)


def statuses(pod: Raw) -> Iterable[Raw]:
    """Status of each container of a pod."""
    status = pod.get("status") or {}
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def is_starting(pod: Raw) -> bool:
    """Whether a pod has a node, and no container has started or says what it waits for."""
    waits = [(status.get("state") or {}).get("waiting") for status in statuses(pod)]
    return bool(waits) and all(
        wait is not None and wait.get("reason", "") in ("ContainerCreating", "PodInitializing", "")
        for wait in waits
    )


def last(events: Sequence[Raw], *reasons: str) -> Raw | None:
    """The newest Event with one of these reasons; Events come oldest first."""
    return next((event for event in reversed(events) if event.get("reason") in reasons), None)


def message_of(event: Raw) -> str:
    """What an Event says."""
    return str(event.get("message", ""))


def begun(event: Raw) -> datetime | None:
    """When an Event happened first."""
    meta = event.get("metadata") or {}
    return parse_time(event.get("firstTimestamp") or event.get("eventTime") or meta.get("creationTimestamp"))


def latest(event: Raw) -> datetime | None:
    """When an Event happened last."""
    return parse_time(event.get("lastTimestamp")) or begun(event)
