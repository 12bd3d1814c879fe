"""How a server gets to what the spec asks for: what has to be written, and how far it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kubetune_trainer.contract.config import TrainerConfig, digest_of

from ..api.v1alpha1 import FineTuneJob
from ..api.v1alpha1.serving import Serving
from ..children.guard import DIGEST, build_guard
from ..children.server import build_server
from ..children.service import build_service
from ..facts.observed import Observed, Server
from ..facts.views import DeploymentView, Kind, Manifest, View
from ..spec.settings import JobSettings
from ..vocabulary.names import ROLES, Names
from .intent import intent_of
from .wanted import wanted_serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What has to be written for one server."""

    apply: tuple[Manifest, ...] = ()
    create_once: tuple[Manifest, ...] = ()
    superseded: tuple[View, ...] = ()
    """Guards of servers that are gone."""
    settled: bool = True
    """Nothing is to be expected."""


def rollout(
    job: FineTuneJob,
    observed: Observed,
    config: TrainerConfig,
    settings: JobSettings,
    *,
    role: str,
    service: str,
) -> Rollout:
    """Say what to apply and to create for a server of this role, and for the Service ``service`` to it.

    The manifest is built only where it is sent, since this is asked at every look.
    """
    serving, artifact = wanted_serving(job, observed, role), observed.artifact
    planned = planned_gpus(job, observed)
    intent = intent_of(job, serving, artifact, settings, planned_gpus=planned, role=role)
    if serving is None or artifact is None or intent is None:
        return Rollout()
    server = observed.server(role)
    live = server.deployment
    apply: tuple[Manifest, ...] = ()
    if live is None or live.intent != intent or has_drifted(serving, server):
        apply = (
            build_server(
                job,
                serving,
                config,
                artifact,
                settings,
                role=role,
                intent=intent,
                architecture=architecture_of(job, observed),
                planned_gpus=planned,
            ),
        )
    names, missing = Names(job.metadata.name), list[Manifest]()
    if (Kind.CONFIG_MAP, names.guard(role, DIGEST)) not in observed.present:
        missing.append(build_guard(job, role=role))
    if (Kind.SERVICE, names.server(service)) not in observed.present:
        missing.append(build_service(job, role=service))
    settled = not apply and is_rolled_out(serving, server)
    return Rollout(
        apply=apply,
        create_once=tuple(missing),
        superseded=_superseded(names, observed, role=role) if settled else (),
        settled=settled,
    )


def wanted_intent(job: FineTuneJob, observed: Observed, settings: JobSettings, *, role: str) -> str | None:
    """Digest of what the server of a role is to be now; None while there is to be none."""
    serving = wanted_serving(job, observed, role)
    planned = planned_gpus(job, observed)
    return intent_of(job, serving, observed.artifact, settings, planned_gpus=planned, role=role)


def architecture_of(job: FineTuneJob, observed: Observed) -> str:
    """Architecture of the base model: what prepare has just found, else the status; "" if unknown."""
    if observed.prepared is not None:
        return observed.prepared.model.architecture
    return (job.status and job.status.model and job.status.model.architecture) or ""


def planned_gpus(job: FineTuneJob, observed: Observed) -> int:
    """GPUs that a server needs: what prepare has just found, else the status; 0 if it is not known."""
    if observed.prepared is not None:
        return observed.prepared.plan.serving_gpus
    return (job.status and job.status.plan and job.status.plan.serving_gpus) or 0


def _superseded(names: Names, observed: Observed, *, role: str) -> tuple[View, ...]:
    """Guards of other content, which no server mounts once all are of the newest make."""
    own = names.guard(role, DIGEST)
    maps = (view for (kind, _), view in observed.present.items() if kind is Kind.CONFIG_MAP)
    return tuple(v for v in maps if names.guard_role(v.name) == role and v.name != own and not v.deleting)


def has_drifted(serving: Serving, server: Server) -> bool:
    """Whether somebody changed what we manage since it was applied.

    What a webhook made of it then is no edit, and replicas that the spec leaves out belong to others.
    """
    live, accepted = server.deployment, server.accepted
    if live is None:
        return False
    resized = serving.replicas not in (None, live.size) and (accepted is None or live.size != accepted.size)
    edited = digest_of(live.live) != live.applied and (accepted is None or live.live != accepted.live)
    return resized or edited


def is_rolled_out(serving: Serving, server: Server) -> bool:
    """Whether all servers are of the newest make, and as many available as the spec says.

    Of a number that is left to others one will do: scaling is no rollout.
    """
    live, accepted = server.deployment, server.accepted
    if live is None:
        return False
    if serving.replicas is None:
        seen = accepted is None or live.observed_generation >= accepted.generation
        return seen and is_uniform(live) and live.available > 0
    return (
        is_seen(live)
        and is_uniform(live)
        and live.available >= serving.replicas
        and live.replicas == serving.replicas
    )


def is_seen(live: DeploymentView) -> bool:
    """Whether what the Deployment tells is about its newest make."""
    return live.observed_generation >= live.generation


def is_uniform(live: DeploymentView) -> bool:
    """Whether no server is of an earlier make."""
    return 0 < live.replicas <= live.updated


def has_failed(live: DeploymentView) -> bool:
    """Whether the Deployment's controller has given up."""
    return any(c.type == "Progressing" and c.status == "False" for c in live.conditions)


def unwanted(job: FineTuneJob, observed: Observed) -> tuple[View, ...]:
    """What is there of servers although none is to be."""
    if any(wanted_serving(job, observed, role) is not None for role in ROLES):
        return ()
    return server_children(job, observed, *ROLES)


def server_children(job: FineTuneJob, observed: Observed, *roles: str) -> tuple[View, ...]:
    """What is there of the servers of these roles: Deployments, Services and guards."""
    views = observed.present.values()
    return tuple(v for v in views if _role_of(v, job.metadata.name) in roles and not v.deleting)


def is_of_server(view: View, job: str) -> bool:
    """Whether a child is a server's Deployment, Service or guard."""
    return _role_of(view, job) is not None


def _role_of(view: View, job: str) -> str | None:
    """Role of the server that a child is a part of."""
    names = Names(job)
    if view.kind is Kind.CONFIG_MAP:
        return names.guard_role(view.name)
    return names.role_of(view.name) if view.kind in SERVER_KINDS else None


SERVER_KINDS = (Kind.DEPLOYMENT, Kind.SERVICE)


def places(job: str, roles: Iterable[str] = ROLES) -> Iterable[tuple[Kind, str]]:
    """Kinds and names of all that servers may have left, but for guards, which do nothing by themselves."""
    return ((kind, Names(job).server(role)) for role in roles for kind in SERVER_KINDS)
