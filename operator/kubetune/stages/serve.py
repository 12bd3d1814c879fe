"""Stage serve: a server of the verified result behind the job's public Service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from typing_extensions import override

from kubetune_trainer.config import TrainerConfig

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.status import ServingStatus
from ..children.server import build_deployment, has_drifted, intent_of
from ..children.service import build_service
from ..facts.observed import Observed
from ..facts.views import DeploymentView, Kind
from ..spec.settings import JobSettings
from ..vocabulary import names
from ..vocabulary.names import Names
from ..vocabulary.periods import LOOK_AFTER
from ..vocabulary.reasons import ConditionType, Reason
from ..vocabulary.sentences import sentences
from .foundation import configuration
from .plan import Doomed, Plan
from .stage import Finding, Look, Stage


class _Serve(Stage):
    name = names.SERVE
    condition = ConditionType.SERVED

    @override
    def wanted(self, job: FineTuneJob) -> bool:
        return job.spec.serving is not None

    @override
    def reached(self, job: FineTuneJob, observed: Observed) -> bool:
        serving, live = job.spec.serving, observed.deployment
        rolled_out = serving is None or (live is not None and _is_rolled_out(live, serving.replicas))
        return observed.answered and _is_served(observed) and rolled_out

    @override
    def plan(self, look: Look) -> Plan:
        """Deployment and Service together; also when it is stalled, since its spec may be edited."""
        job, observed = look.job, look.observed
        serving, artifact, live = job.spec.serving, observed.artifact, observed.deployment
        if serving is None or artifact is None:
            return Plan()
        changed = live is None or live.intent != intent_of(serving, look.config, artifact)
        changed = changed or (live is not None and has_drifted(live, observed.accepted))
        once = [*configuration(look)]
        if (Kind.SERVICE, Names(job.metadata.name).serving) not in observed.present:
            once.append(build_service(job))
        settled = live is not None and min(live.available, live.updated) >= serving.replicas
        return Plan(
            create_once=tuple(once),
            apply=(build_deployment(job, serving, look.config, artifact, look.settings),) if changed else (),
            requeue_after=None if settled and not changed else LOOK_AFTER,
        )

    @override
    def upkeep(self, look: Look) -> Plan:
        return self.plan(look)

    @override
    def leftovers(self, job: FineTuneJob, observed: Observed) -> Sequence[Doomed]:
        name = Names(job.metadata.name).serving
        there = [observed.present.get((kind, name)) for kind in (Kind.DEPLOYMENT, Kind.SERVICE)]
        return [
            Doomed(kind=view.kind, name=view.name, uid=view.uid)
            for view in there
            if view and not view.deleting
        ]

    @override
    def obstacle(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        live = observed.deployment
        if live is not None and _has_failed(live):
            return _rollout_failed(observed, live)
        return super().obstacle(job, observed)

    @override
    def ongoing(self, job: FineTuneJob, observed: Observed) -> Finding:
        serving = job.spec.serving
        if observed.silence is not None:
            url = Names(job.metadata.name).url(job.metadata.namespace)
            return Finding(
                Reason.DEPLOYING,
                f"A server is ready, but {url} does not answer the operator: {observed.silence}. Allow it in "
                "the namespace's NetworkPolicy, or look at the server's log.",
            )
        one = serving is None or serving.replicas == 1
        servers = "The server starts" if one or serving is None else f"{serving.replicas} servers start"
        return Finding(Reason.DEPLOYING, f"{servers}; ready means that one answered with this model.")

    @override
    def holds(self, job: FineTuneJob, observed: Observed) -> Finding | None:
        """Whether the public Service answers: also while a newer version of the spec is rolled out."""
        if not _is_served(observed):
            return None
        return Finding(Reason.SERVING, "The Service answers with this model.")

    @override
    def status(
        self, job: FineTuneJob, observed: Observed, config: TrainerConfig | None, settings: JobSettings | None
    ) -> dict[str, Any]:
        if job.spec.serving is None or observed.artifact is None:
            return {}
        live = observed.deployment
        serving = ServingStatus(
            model_name=job.metadata.name,
            url=Names(job.metadata.name).url(job.metadata.namespace),
            replicas=live.replicas if live else 0,
            ready_replicas=live.ready if live else 0,
        )
        return {"serving": serving}


SERVE: Final = _Serve()


def _is_served(observed: Observed) -> bool:
    live = observed.deployment
    answers = observed.answered or observed.answered_before
    return answers and live is not None and live.available > 0 and not _has_failed(live)


def _is_rolled_out(live: DeploymentView, replicas: int) -> bool:
    seen = live.observed_generation >= live.generation
    return seen and live.updated >= replicas and live.available >= replicas and live.replicas <= replicas


def _has_failed(live: DeploymentView) -> bool:
    return any(c.type == "Progressing" and c.status == "False" for c in live.conditions)


def _rollout_failed(observed: Observed, live: DeploymentView) -> Finding:
    """The Deployment gave up; what keeps the new pods from starting is the message's second half."""
    failed = next(c.message for c in live.conditions if c.type == "Progressing")
    old = "; earlier servers keep answering" if live.available > 0 else ""
    why = observed.diagnosis.message if observed.diagnosis else ""
    return Finding(Reason.ROLLOUT_FAILED, sentences(f"{failed.removesuffix('.')}{old}", why))
