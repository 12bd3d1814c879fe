"""What is observed about one FineTuneJob: the values that every decision reads, and nothing else.

Pure data; ``stages.observe`` fills it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from kubetune_trainer.contract.evaluation import EvaluateSummary, Override
from kubetune_trainer.contract.messages import ArtifactSummary, PrepareSummary, Progress

from ..vocabulary.reasons import REASONS, Reason
from .canary import Canary
from .views import DeploymentView, JobView, Kind, View


class Outcome(StrEnum):
    """How a run of a stage went."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PREEMPTED = "Preempted"
    """Failed through no fault of its own: the retry is free."""


class RunState(StrEnum):
    """How far a run is."""

    PENDING = "Pending"
    """Not all of its pods are there."""
    SUSPENDED = "Suspended"
    """Whoever suspended its Job resumes it; until then no pod of it runs."""
    RUNNING = "Running"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a run ended: the verdict over its pods."""

    outcome: Outcome
    reason: Reason
    message: str
    """A sentence: what happened, on which pod or line, what to change."""
    finished: datetime | None
    """By the clock of whoever ended it: to be shown, never to be compared."""
    settled: bool
    """All its pods are gone or ended, so that the next run may start."""
    lost: bool = False
    """Its Job was gone before it had ended; should that be seen again, the run goes on."""

    @property
    def decided(self) -> bool:
        """Whether no pod that ends later changes the verdict."""
        final = REASONS[self.reason].stalls or self.reason is Reason.GANG_INCOMPLETE
        return (self.settled or final) and not self.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """For how long the ended pods of a run held what they asked for, each by the clock of its own kubelet."""

    seconds: int = 0
    """Over the pods that tell both times."""
    whole: bool = False
    """Those are all the pods that the run had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One try of a stage, from its Job or, when that is gone, from the status."""

    stage: str
    number: int
    job: JobView | None
    state: RunState
    ending: Ending | None
    """None until it has ended."""
    started: datetime | None
    """When its Job was made, by the API server's clock."""
    was_complete: bool = False
    """All its pods were ready at one time."""
    pod: str | None = None
    """Its first pod, when that was seen to end."""
    said: str = ""
    """Termination message of that pod."""
    held: Held = Held()
    from_step: int | None = None
    to_step: int | None = None
    progress: Progress | None = None
    """What a training told at its end."""

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.ending is not None and self.ending.outcome is Outcome.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The ended runs of a stage, counted over all of them: also those of which nothing else is left."""

    number: int = 0
    """The last run that is counted."""
    failures: int = 0
    """Runs that failed by the job's own fault: they count against training.retries.max."""
    interruptions: int = 0
    """The latest runs, as many as ended through no fault of their own, one after another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why something waits, found by looking at pods, claims and their Events."""

    reason: Reason
    message: str
    stage: str
    """Name of the stage that waits."""
    stalled: bool = False
    """Nothing but a change by a person helps (StorageNotShared)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of one role: its Deployment, and what is known of its answers."""

    role: str
    deployment: DeploymentView | None = None
    answered: bool = False
    """It completed a token by this job's model name, made from what the spec asks for now."""
    answered_before: bool = False
    """It did so as the spec said earlier; those servers stay until new ones are ready."""
    canary: Canary | None = None
    """What it said of itself when it answered."""
    silence: str | None = None
    """Why it has not answered for a while although it is ready."""
    accepted: DeploymentView | None = None
    """The Deployment as the API server answered our last apply: webhooks may change it."""
    dispute: str | None = None
    """What others do to it again and again, in sentences that say what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What only this process knows of a job's runs: it has seen it, by its own clock."""

    complete: frozenset[str] = frozenset()
    """uids of Jobs whose pods were all ready at one time."""
    overdue: frozenset[str] = frozenset()
    """uids of Jobs of which some pods have held nodes for longer than they may, while others found none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that decisions read about the cluster."""

    present: Mapping[tuple[Kind, str], View] = field(default_factory=dict)
    """Children that exist and are ours, by kind and name; the output claim by its label."""
    conflicts: tuple[tuple[Kind, str], ...] = ()
    """Foreign objects that hold a child's name."""
    earlier: tuple[str, ...] = ()
    """Kinds and names of what an earlier FineTuneJob of the same name, or a Job that is gone, has left."""
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    """Runs by stage, in order of their numbers."""
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """Ended runs by stage."""
    rested: timedelta = timedelta.max
    """For how long the latest end of a run has been known."""
    prepared: PrepareSummary | None = None
    """What prepare found, as far as it is true of the volume that is there."""
    artifact: ArtifactSummary | None = None
    """The verified result."""
    base_answered: bool = False
    """The base of a full fine-tune was asked everything, by a server of its own."""
    evaluation: EvaluateSummary | None = None
    """What the evaluation of this very artifact found."""
    override: Override | None = None
    """A person's decision to serve it although it did not pass."""
    servers: Mapping[str, Server] = field(default_factory=dict)
    """By role, those that are known."""
    diagnosis: Diagnosis | None = None
    progress: Progress | None = None
    """Of the run at hand."""
    notes: tuple[str, ...] = ()
    """Sentences on what others did to children, or what keeps those that are waited for."""

    def server(self, role: str) -> Server:
        """The server of a role, also while there is none."""
        return self.servers.get(role) or Server(role=role)

    def runs_of(self, stage: str) -> tuple[Run, ...]:
        """All runs of a stage that are known, the oldest first."""
        return self.runs.get(stage, ())

    def last_run(self, stage: str) -> Run | None:
        """The latest run of a stage."""
        runs = self.runs_of(stage)
        return runs[-1] if runs else None

    def tally(self, stage: str) -> Tally:
        """The ended runs of a stage."""
        return self.tallies.get(stage, Tally())
