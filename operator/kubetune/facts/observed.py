"""What is observed about one FineTuneJob: the values that ``plan`` and ``status`` read, and nothing else.

Pure data; ``observe`` fills it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kubetune_trainer.messages import ArtifactSummary, PrepareSummary, Progress

from ..vocabulary.reasons import Reason
from .views import DeploymentView, JobView, Kind, View


class Outcome(StrEnum):
    """How far a prepare Job or an attempt is."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PREEMPTED = "Preempted"
    """Failed through no fault of its own: the retry is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a prepare Job or an attempt ended: the verdict over its pods."""

    outcome: Outcome
    reason: Reason
    message: str
    """A sentence: what happened, on which pod or line, what to change."""
    finished: datetime | None
    settled: bool
    """All its pods are gone or ended, so that the next attempt may start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of training, from its Job or, when that is gone, from status.attempts."""

    number: int
    job: JobView | None
    started: datetime | None
    from_step: int | None
    to_step: int | None
    ending: Ending | None
    """None while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why something waits, found by looking at pods, claims and their Events."""

    reason: Reason
    message: str
    stage: str
    """prepare, train or serve."""
    stalled: bool = False
    """Nothing but a change by a person helps (StorageNotShared)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that plan and status read about the cluster."""

    present: Mapping[tuple[Kind, str], View] = field(default_factory=dict)
    """Children that exist and are ours, by kind and name; the output claim by its label."""
    conflicts: tuple[tuple[Kind, str], ...] = ()
    """Foreign objects that hold a child's name."""
    earlier: tuple[str, ...] = ()
    """Kinds and names of what an earlier FineTuneJob of the same name, or a Job that is gone, has left."""
    prepare: JobView | None = None
    """The latest run of prepare; its number is ``prepare.attempt``."""
    prepare_ending: Ending | None = None
    """None while it runs."""
    prepare_failures: int = 0
    """Runs of prepare that failed and count against retries.max."""
    prepare_preempted: int = 0
    """The latest runs of prepare, as many as were preempted one after another."""
    prepared: PrepareSummary | None = None
    """From the prepare pod's message, else rebuilt from status; None when prepare has to run (again)."""
    attempts: tuple[Attempt, ...] = ()
    """In order of their numbers."""
    artifact: ArtifactSummary | None = None
    """Adopted by prepare, or published by an attempt, or from status."""
    deployment: DeploymentView | None = None
    answered: bool = False
    """The public Service completed a token by this job's model name, served as the spec says now."""
    answered_before: bool = False
    """It did so as the spec said earlier; those servers stay until new ones are ready."""
    silence: str | None = None
    """Why the Service has not answered for a while although a server is ready."""
    accepted: tuple[str, ...] | None = None
    """The Deployment's ``live`` fields as the API server took them last: webhooks may change them."""
    diagnosis: Diagnosis | None = None
    progress: Progress | None = None
    """Of the running attempt."""

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def failures(self) -> int:
        """Attempts that failed and count against retries.max."""
        return sum(a.ending is not None and a.ending.outcome is Outcome.FAILED for a in self.attempts)
