"""Who may act: one record, a Lease, and what one operator makes of it. Pure.

The algorithm is that of client-go (``tools/leaderelection/leaderelection.go`` in kubernetes/client-go).
Times of different clocks are never compared. A contender takes the record over when it has not CHANGED for as
long as it is valid, by the contender's own clock; the times that are written in it are for people. The holder
counts from when it SENT its last renewal that was answered, by its own clock. Every update names the
resourceVersion that it replaces, so of several only one succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ..facts.views import Raw
from ..vocabulary.times import rfc3339_micro

DURATION: Final = 15.0
"""Seconds without a change after which another takes over. This, ``RENEW_DEADLINE`` and ``RETRY`` are as in
Kubernetes' own components. A lost node costs 2.4 + 4 (its last renewal is seen) + 15 + 4 + 4 (it is read once
more and taken) = 29.4 s when every request is as slow as it may be, and 17 s when none is."""

RENEW_DEADLINE: Final = 10.0
"""The holder sends nothing that writes when its last renewal is older than this."""

RETRY: Final = 2.0
"""Between two renewals, and between two looks of a contender, give or take ``JITTER``."""

JITTER: Final = 0.2
"""Part of a pause that it may be shorter or longer: or all would come at once."""

WRITE_DEADLINE: Final = 13.0
"""A write that has not ended when the last renewal is this old is given up. At least 3 s are left to each.
What is left to ``DURATION`` is for clocks that do not run equally fast, and for what is still on the wire."""

REQUEST_LIMIT: Final = 4.0
"""Seconds for one request about the Lease: two of them fit before the renewal is due."""


@dataclass(slots=True)
class Term:
    """A time in which this operator is the one that acts."""

    renewed: float
    """When its last renewal that was answered was sent, by the loop's clock."""
    ended: bool = False
    """It was lost or given back; another may follow, and is not this one."""

    def left(self, now: float) -> float:
        """Seconds in which writes may be sent; 0 when it is over."""
        return 0.0 if self.ended else max(0.0, self.renewed + RENEW_DEADLINE - now)

    def left_to_write(self, now: float) -> float:
        """Seconds in which a write that is sent now has to end; 0 when none may be sent."""
        return self.renewed + WRITE_DEADLINE - now if self.left(now) > 0 else 0.0


class Observed:
    """What a contender has seen of the record, and when it changed last, by its own clock."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._spec: Mapping[str, Any] | None = None
        self._free_at = float("-inf")
        self.holder = ""

    def see(self, lease: Raw | None, now: float) -> None:
        """Take what a read showed; None when there is no Lease."""
        spec = None if lease is None else _spec(lease)
        if spec == self._spec:
            return
        if spec is None:
            # Whoever held it makes it anew at the next renewal, and acts until then.
            self._free_at = now + DURATION if self.holder else now
        else:
            self.holder = holder(lease)
            self._free_at = now + max(DURATION, _seconds(spec)) if self.holder else now
        self._spec = spec

    def free_in(self, now: float) -> float:
        """Seconds until it may be taken; 0 when nobody holds it, or this operator does."""
        return 0.0 if self.holder == self._identity else max(0.0, self._free_at - now)


def holder(lease: Raw | None) -> str:
    """Who holds a Lease; empty when nobody does."""
    return "" if lease is None else str(_spec(lease).get("holderIdentity") or "")


def claimed(lease: Raw | None, identity: str, now: datetime) -> dict[str, Any]:
    """The spec with which this operator takes or renews the Lease."""
    old = {} if lease is None else _spec(lease)
    renews = holder(lease) == identity
    stamp = rfc3339_micro(now)
    transitions = _number(old.get("leaseTransitions"))
    return {
        **old,
        "holderIdentity": identity,
        "leaseDurationSeconds": int(DURATION),
        "acquireTime": old.get("acquireTime", stamp) if renews else stamp,
        "renewTime": stamp,
        "leaseTransitions": transitions if renews or lease is None else transitions + 1,
    }


def released(lease: Raw, now: datetime) -> dict[str, Any]:
    """The spec with which the holder gives the Lease back: the next one takes it at once."""
    return {**_spec(lease), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": rfc3339_micro(now)}


def _spec(lease: Raw) -> Mapping[str, Any]:
    spec = lease.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def _seconds(spec: Mapping[str, Any]) -> float:
    return float(_number(spec.get("leaseDurationSeconds")))


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
