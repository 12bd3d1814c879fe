"""What the reconciler remembers of one FineTuneJob between two looks; lost on a restart without harm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kubetune_trainer.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Diagnosis
from ..facts.views import Kind, View
from ..spec.settings import JobSettings
from .run_memory import RunMemory

Child = tuple[Kind, str]

REBIRTH_FIRST: Final = 1.0
REBIRTH_LIMIT: Final = 300.0


@dataclass(slots=True)
class Birth:
    """How often a child came into being, and when last."""

    uid: str
    count: int
    last: float


@dataclass(slots=True)
class JobState:
    """State of one incarnation of a FineTuneJob."""

    uid: str
    config: TrainerConfig | None = None
    """From the ConfigMap, or resolved and about to be written there."""
    settings: JobSettings | None = None
    """Those in ``config``."""
    parsed: tuple[str, FineTuneJob] | None = None
    """Resource version and object that was parsed last."""
    config_read: bool = False
    """The ConfigMap was looked for."""
    namesakes_read: bool = False
    """Who has the names of the server was asked before the first Job."""
    births: dict[Child, Birth] = field(default_factory=dict)
    """Children that have existed."""
    missed: set[Child] = field(default_factory=set)
    """Children that have existed, and that a live read did not find."""
    pods_cleared: frozenset[str] = frozenset()
    """Jobs that are gone, with all their pods, by uid or attempt; empty text: any earlier incarnation's."""
    runs: RunMemory = field(default_factory=RunMemory)
    """What was seen of its runs."""
    waiting: dict[str, float] = field(default_factory=dict)
    """Children that are not where they should be, by uid, and since when."""
    next_look: float | None = None
    look_period: float = 0.0
    diagnosis: Diagnosis | None = None
    unfit: Diagnosis | None = None
    """Why the output claim that is there cannot do."""
    refusal: Diagnosis | None = None
    """Why the API server did not take a child."""
    answered: str | None = None
    """Intent of the Deployment whose Service has answered; empty: an earlier one that nobody knows."""
    recalled: bool = False
    """What the status knew of answers was taken over."""
    accepted: tuple[str, ...] | None = None
    """What the API server made of the Deployment that was applied last, by its answer."""
    written: tuple[str, dict[str, Any]] | None = None
    """Resource version and status of the last write: what the schema prunes is not written again."""

    def has_begun(self, children: Iterable[View]) -> bool:
        """Whether one of these is a Job of this FineTuneJob."""
        return any(child.kind is Kind.JOB and child.owner_uid == self.uid for child in children)

    def saw(self, views: Iterable[View], now: float) -> None:
        """Remember children that exist."""
        for view in views:
            if view.owner_uid == self.uid:
                self.born(view, now)

    def born(self, view: View, now: float) -> None:
        """Remember one child."""
        child = view.kind, view.name
        known = self.births.get(child)
        if known is None or known.uid != view.uid:
            self.births[child] = Birth(view.uid, known.count + 1 if known else 1, now)
            self.missed.discard(child)

    def rebirth_delay(self, child: Child, now: float) -> float:
        """Seconds until a child that is gone may be made again: at once the first time, then ever later.

        Somebody who keeps deleting it, or an API server that does, must not make a storm.
        """
        known = self.births.get(child)
        if known is None or known.count < 2:
            return 0.0
        pause = min(REBIRTH_FIRST * 2.0 ** min(known.count - 2, 20), REBIRTH_LIMIT)
        return max(0.0, known.last + pause - now)
