"""Stage serve: a server of the verified result behind the job's public Service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from typing_extensions import override

from kubetune_trainer.contract.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import CanaryStatus, ServingStatus
from ..facts.observed import Observed
from ..facts.views import Kind
from ..servers import state as servers
from ..servers.rollout import rollout, server_children, unwanted
from ..spec.settings import JobSettings
from ..vocabulary import names
from ..vocabulary.names import ROLE_BASELINE, ROLE_CANDIDATE, ROLE_SERVING, Names
from ..vocabulary.periods import LOOK_AFTER
from ..vocabulary.reasons import ConditionType, Finding, Reason
from .foundation import configuration
from .plan import Doomed, Plan, doomed
from .stage import Look, Stage


class _Serve(Stage):
    name = names.SERVE
    condition = ConditionType.SERVED

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return job.spec.serving is not None

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        serving = job.spec.serving
        current = serving is not None and servers.is_current(serving, observed.server(ROLE_SERVING))
        return current and _is_public(job, observed)

    @override
    def plan(self, look: Look) -> Plan:
        """Deployment and public Service together, in the place of what the evaluation needed.

        Also when it is stalled, since its spec may be edited.
        """
        job, observed = look.job, look.observed
        server = rollout(job, observed, look.config, look.settings, role=ROLE_SERVING, service=ROLE_SERVING)
        evaluated = server_children(job, observed, ROLE_CANDIDATE, ROLE_BASELINE)
        return Plan(
            create_once=(*configuration(look), *server.create_once),
            apply=server.apply,
            delete=doomed((*server.superseded, *evaluated)),
            requeue_after=None if server.settled else LOOK_AFTER,
        )

    @override
    def upkeep(self, look: Look) -> Plan:
        return self.plan(look)

    @override
    def leftovers(self, job: FineTuneJob, observed: Observed) -> Sequence[Doomed]:
        return doomed(unwanted(job, observed))

    @override
    def obstacle(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        trouble = servers.trouble_of(observed.server(ROLE_SERVING), observed.diagnosis)
        return trouble or super().obstacle(job, observed)

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        serving = job.spec.serving
        if serving is not None:
            return servers.finding_of(job, serving, observed.server(ROLE_SERVING))
        left = unwanted(job, observed)
        named = " and ".join(f"{view.kind} {view.name}" for view in left)
        have = "have" if len(left) > 1 else "has"
        return Finding(Reason.DEPLOYING, f"{named} {have} to go: the spec asks for no server.")

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        """Whether the public Service answers: also while a newer version of the spec is rolled out."""
        server = observed.server(ROLE_SERVING)
        return servers.answers(server) if _is_public(job, observed) and servers.is_served(server) else None

    @override
    def status(
        self, job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
    ) -> dict[str, Any]:
        if job.spec.serving is None or observed.artifact is None:
            return {}
        if job.spec.evaluation is not None and not _is_public(job, observed):
            return {}
        server = observed.server(ROLE_SERVING)
        live, canary = server.deployment, server.canary
        serving = ServingStatus(
            model_name=job.metadata.name,
            url=Names(job.metadata.name).url(job.metadata.namespace),
            replicas=live.replicas if live else 0,
            ready_replicas=live.ready if live else 0,
            canary=CanaryStatus(**canary.model_dump()) if canary else None,
        )
        return {"serving": serving}


def _is_public(job: FineTuneJob, observed: Observed) -> bool:
    """Whether requests can come: a server is there for its evaluation before it has its public Service."""
    return (Kind.SERVICE, Names(job.metadata.name).server(ROLE_SERVING)) in observed.present


SERVE: Final = _Serve()
