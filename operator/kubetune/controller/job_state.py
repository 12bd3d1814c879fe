"""What the reconciler remembers of one FineTuneJob between two looks; lost on a restart without harm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.evaluation import Override

from ..api.v1alpha1 import FineTuneJob
from ..decide.failures import is_lasting
from ..diagnose.refusals import is_quota
from ..facts.canary import Canary
from ..facts.observed import Diagnosis
from ..facts.views import DeploymentView, Kind, Raw, View
from ..spec.settings import JobSettings
from ..vocabulary.errors import Invalid, KubeTuneError, Rejected, TransientError
from ..vocabulary.periods import TELL_AFTER, doubled
from .first_seen import FirstSeen
from .repeats import Child, Repeats
from .run_memory import RunMemory

REFUSED_POLL: Final = 30.0
"""How soon to try again what was refused; each further refusal doubles it."""
REFUSED_LIMIT: Final = 600.0


@dataclass(slots=True)
class ServerState:
    """State of the server of one role."""

    answered: str | None = None
    """Intent of the Deployment that has answered; empty: an earlier one that nobody knows."""
    canary: Canary | None = None
    """What it said of itself then."""
    recalled: bool = False
    """What the status knew of answers was taken over."""
    accepted: DeploymentView | None = None
    """The Deployment as the API server answered the last apply."""
    dispute: str | None = None
    """What others do to it again and again."""
    disputed: int = 0
    """The repetition for which that was read."""


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
    births: dict[Child, str] = field(default_factory=dict)
    """Children that have existed, with the uid of the last."""
    missed: set[Child] = field(default_factory=set)
    """Children that have existed, and that a live read did not find."""
    cleared: frozenset[str] = frozenset()
    """Jobs that are gone, with all their pods, by uid; empty text: all that this process never saw."""
    runs: RunMemory = field(default_factory=RunMemory)
    """What was seen of its runs."""
    waiting: dict[str, float] = field(default_factory=dict)
    """Children that are not where they should be, by uid, and since when."""
    next_look: float | None = None
    look_period: float = 0.0
    first_seen: FirstSeen = field(default_factory=FirstSeen)
    """What looks have found, and since when."""
    children_seen: FirstSeen = field(default_factory=FirstSeen)
    strangers_seen: FirstSeen = field(default_factory=FirstSeen)
    notes: dict[str, str] = field(default_factory=dict)
    """What others did to children, by uid."""
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
    override: Override | None = None
    """A person's decision against the gate, as the object's annotation has it."""
    servers: dict[str, ServerState] = field(default_factory=dict)
    """By role."""
    servers_cleared: bool = False
    """A live read found no server, since the spec asks for none."""
    repeats: Repeats = field(default_factory=Repeats)
    overtaken: bool = False
    """The last write may have fallen on a status of somebody else: what it left is to be looked at."""
    pruned: tuple[Raw, Raw] | None = None
    """What the schema leaves of a status, and that status: it is not written again."""

    def has_begun(self, children: Iterable[View]) -> bool:
        """Whether one of these is a Job of this FineTuneJob."""
        return any(child.kind is Kind.JOB and child.owner_uid == self.uid for child in children)

    def server(self, role: str) -> ServerState:
        """State of the server of one role."""
        return self.servers.setdefault(role, ServerState())

    def saw(self, views: Iterable[View]) -> None:
        """Remember children that exist."""
        for view in views:
            if view.owner_uid == self.uid and self.births.get((view.kind, view.name)) != view.uid:
                self.births[view.kind, view.name] = view.uid
                self.missed.discard((view.kind, view.name))

    def removed(self, child: Child) -> None:
        """Forget a child that was removed since it is not wanted any more."""
        self.births.pop(child, None)
        self.repeats.forget(child)

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
            pause = doubled(REFUSED_POLL, count - 1, limit=REFUSED_LIMIT)
        refusal = self.refusals[child] = Refusal(error, count, now + pause)
        return refusal
