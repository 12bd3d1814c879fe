"""What stages share that have a server asked: the server comes first, then a run of the evaluator."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final

from typing_extensions import override

from ..api.v1alpha1 import FineTuneJob
from ..children.evaluate import build_evaluation
from ..facts.observed import Observed, Outcome, RunState
from ..facts.views import Manifest
from ..servers import state as servers
from ..servers.rollout import planned_gpus, rollout, server_children
from ..servers.wanted import wanted_serving
from ..spec.resources import serving_gpus
from ..vocabulary.names import ROLES, Names
from ..vocabulary.periods import LOOK_AFTER
from ..vocabulary.reasons import Finding, Reason
from ..vocabulary.sentences import sentences
from .foundation import configuration
from .plan import Plan, doomed
from .retries import exhausted, next_run
from .stage import Look, Stage
from .suspension import suspended

_MORE_MEMORY: Final = "Raise the memory limit in training.resources, or lower evaluation.maxRows"


class Asking(Stage):
    """A stage whose runs ask a server that it brings up."""

    role: ClassVar[str]
    """Of the server."""
    service: ClassVar[str]
    """Role of the Service by which the evaluator reaches it."""
    asked: ClassVar[str]
    """Who is asked, within a sentence."""
    more_memory = f"{_MORE_MEMORY}; answers that were given are kept."

    @override
    def plan(self, look: Look) -> Plan:
        """The server and its Service, then a run; what other roles have left goes.

        When no further run follows, the server gives its GPUs back.
        """
        job, observed, artifact = look.job, look.observed, look.observed.artifact
        if look.stalled and exhausted(self, observed, job=job) is not None:
            return Plan(delete=doomed(server_children(job, observed, *ROLES)))
        server = rollout(job, observed, look.config, look.settings, role=self.role, service=self.service)
        others = server_children(job, observed, *(r for r in ROLES if r not in (self.role, self.service)))
        plan = Plan(
            create_once=(*configuration(look), *server.create_once),
            apply=server.apply,
            delete=doomed((*server.superseded, *others)),
            requeue_after=None if server.settled else LOOK_AFTER,
        )
        if artifact is None or not self.is_up(job, observed):
            return plan

        def build(number: int) -> Manifest:
            return build_evaluation(job, look.config, look.settings, artifact, stage=self.name, number=number)

        return plan.joined(next_run(self, look, build, unheard=LOOK_AFTER))

    @override
    def gpus_per_pod(self, job: FineTuneJob, observed: Observed) -> int:
        replicas = (job.spec.serving and job.spec.serving.replicas) or 1
        return serving_gpus(job, planned_gpus(job, observed)) * replicas

    def is_up(self, job: FineTuneJob, observed: Observed) -> bool:
        """Whether the server can be asked."""
        serving = wanted_serving(job, observed, self.role)
        return serving is not None and servers.is_current(serving, observed.server(self.role))

    @override
    def obstacle(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        trouble = servers.trouble_of(observed.server(self.role), observed.diagnosis)
        return trouble or super().obstacle(job, observed)

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        run, serving = observed.last_run(self.name), wanted_serving(job, observed, self.role)
        if serving is not None and not self.is_up(job, observed):
            said = servers.finding_of(job, serving, observed.server(self.role))
            waits = f"The evaluation waits for the server of {self.asked}"
            return Finding(said.reason, sentences(waits, said.message))
        if run is not None and run.ending is not None and run.ending.outcome is not Outcome.SUCCEEDED:
            again = "The evaluator is started again, and asks what was not answered before"
            return Finding(Reason.RETRYING, sentences(again, f"The last run: {run.ending.message}"))
        if run is not None and run.state is RunState.SUSPENDED:
            return suspended(run)
        name = Names(job.metadata.name).run(self.name, run.number if run else 1)
        far = f"`kubectl logs job/{name}` shows how far it is"
        return Finding(Reason.EVALUATING, sentences(self.doing(job), far))

    @abstractmethod
    def doing(self, job: FineTuneJob) -> str:
        """What goes on while a run asks."""
