"""What a stage is: one value that plan, conditions, status and Events go over, and that knows only itself.

A stage says when it is wanted and reached, which children it makes next, what its condition says, and what of
it the status has to remember. To add one: a module beside this one, a row in ``table``, and what runs in its
pods in the trainer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kubetune_trainer.contract.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..facts.observed import Observed, Run
from ..spec.settings import JobSettings
from ..vocabulary.reasons import Finding
from .plan import Doomed, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a stage plans from."""

    job: FineTuneJob
    observed: Observed
    config: TrainerConfig
    """What the ConfigMap ``<name>-config`` holds or will hold."""
    settings: JobSettings
    """Those in ``config``."""
    stalled: bool
    """Nothing may be made that repeats what failed."""


class Stage:
    """One stage of a job; what a stage does not need stays as it is here."""

    name: ClassVar[str]
    """In labels, names of Jobs, and as the trainer's subcommand."""
    condition: ClassVar[str]
    """Type of its condition."""
    run_noun: ClassVar[str] = "run"
    """What people call one run of it."""
    more_memory: ClassVar[str] = ""
    """What to do when a run used more memory than it had."""

    def advice_on_memory(self, job: FineTuneJob) -> str:
        """What to do when a run of this job used more memory than it had."""
        del job
        return self.more_memory

    def wanted(self, job: FineTuneJob) -> bool:
        """Whether the spec asks for it."""
        del job
        return True

    def gpus_per_pod(self, job: FineTuneJob, observed: Observed) -> int:
        """GPUs that each pod of its runs holds, or keeps a server for."""
        del job, observed
        return 0

    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        """Whether nothing of it is left to be done."""
        raise NotImplementedError

    def plan(self, look: Look) -> Plan:
        """Say what to make next, while it is the stage at hand."""
        raise NotImplementedError

    def upkeep(self, look: Look) -> Plan:
        """Say what to put right when all stages are reached and it is the last one."""
        del look
        return Plan()

    def leftovers(self, job: FineTuneJob, observed: Observed) -> Sequence[Doomed]:
        """Children to delete while it is not wanted; until they are gone its condition stays."""
        del job, observed
        return ()

    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        """What goes on while it is the stage at hand, or has leftovers."""
        raise NotImplementedError

    def obstacle(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        """What keeps it from going on; by default what a look at its pods has found."""
        del job
        found = observed.diagnosis
        return None if found is None else Finding(found.reason, found.message)

    def refusal(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        """Why it does not go on before a person decides, while it is the stage at hand."""
        del job, observed
        return None

    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        """What its condition says when that is True; None when it is not."""
        raise NotImplementedError

    def remembered_runs(self, job: FineTuneJob) -> Mapping[int, Run]:
        """Runs that the status still knows, by number."""
        del job
        return {}

    def checked(self, run: Run) -> Run:
        """Judge a run by what it should have said, too."""
        return run

    def status(
        self, job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
    ) -> dict[str, Any]:
        """Fields of the status that are its own; ``config`` is None when the spec could not be resolved."""
        del job, observed, config, settings
        return {}
