"""What the reconciler remembers of one FineTuneJob between two looks; lost on a restart without harm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kubetune_trainer.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..decide.failures import is_lasting
from ..diagnose.refusals import is_quota
from ..facts.observed import Diagnosis
from ..facts.views import Kind, Raw, View
from ..spec.settings import JobSettings
from ..vocabulary.errors import Invalid, KubeTuneError, Rejected, TransientError
from ..vocabulary.periods import TELL_AFTER
from .run_memory import RunMemory

Child = tuple[Kind, str]

REBIRTH_FIRST: Final = 1.0
REBIRTH_LIMIT: Final = 300.0

REFUSED_POLL: Final = 30.0
"""How soon to try again what was refused; each further refusal doubles it."""
REFUSED_LIMIT: Final = 600.0


@dataclass(slots=True)
class Birth:
    """How often a child came into being, and when last."""

    uid: str
    count: int
    last: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server said to a child, and until when that stands."""

    error: Rejected
    count: int
    until: float


@dataclass(slots=True)
class Trouble:
    """What keeps failing, one time after the other."""

    since: float
    count: int = 0
    announced: str | None = None
    """The reason of the last Event about it, when the status could not be written."""

    def is_due(self, error: Exception, now: float) -> bool:
        """Count one more failure, and say whether people have to be told.

        One that passes within seconds nobody has to know of.
        """
        self.count += 1
        if is_lasting(error):
            return True
        if not isinstance(error, KubeTuneError):
            return self.count > 1
        ahead = (error.retry_after or 0.0) if isinstance(error, TransientError) else 0.0
        return now + ahead - self.since >= TELL_AFTER.total_seconds()


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
    refusals: dict[Child, Refusal] = field(default_factory=dict)
    """Children that it did not take, which it is not asked about again before their time."""
    generation: int | None = None
    """That of the spec for which they were refused."""
    trouble: Trouble | None = None
    """That looks at the job fail."""
    blind: Trouble | None = None
    """That looks at its pods fail."""
    seen: dict[str, Any] | None = None
    """The status as the look that is under way sees it, when its children cannot be made."""
    unwritten: Exception | None = None
    """Why the status could not be written the last time."""
    answered: str | None = None
    """Intent of the Deployment whose Service has answered; empty: an earlier one that nobody knows."""
    recalled: bool = False
    """What the status knew of answers was taken over."""
    accepted: tuple[str, ...] | None = None
    """What the API server made of the Deployment that was applied last, by its answer."""
    overtaken: bool = False
    """The last write may have fallen on a status of somebody else: what it left is to be looked at."""
    pruned: tuple[Raw, Raw] | None = None
    """What the schema leaves of a status, and that status: it is not written again."""

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

    def edited(self, generation: int | None) -> None:
        """Forget what was refused when the spec is another one."""
        if generation != self.generation:
            self.generation = generation
            self.refusals.clear()

    def refused(self, child: Child, error: Rejected, now: float) -> Refusal:
        """Remember that a child was not taken: what is invalid stays so until the spec is edited.

        A quota has room as soon as another job ends. A policy changes when a person changes it.
        """
        known = self.refusals.get(child)
        count = known.count + 1 if known else 1
        pause = REFUSED_POLL
        if isinstance(error, Invalid):
            pause = math.inf
        elif not is_quota(error):
            pause = min(REFUSED_POLL * 2.0 ** min(count - 1, 20), REFUSED_LIMIT)
        refusal = self.refusals[child] = Refusal(error, count, now + pause)
        return refusal
