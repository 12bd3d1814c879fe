"""Whether a server has answered: by what the spec asks for now, or by an earlier intent. Pure."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from ..api.conditions import is_true
from ..api.v1alpha1 import FineTuneJob
from ..facts.canary import Canary
from ..facts.observed import Server
from ..facts.views import DeploymentView
from ..vocabulary.reasons import ConditionType
from .rollout import is_seen, is_uniform

UNKNOWN = ""
"""Stands for an earlier intent that nobody knows any more."""


def recalled(job: FineTuneJob, live: DeploymentView | None) -> str | None:
    """The intent that had answered by the status, for a process that has heard nothing yet."""
    if job.status is None or not is_true(job.status.conditions, ConditionType.SERVED):
        return None  # Ready may be that of a job that had no server
    ready = is_true(job.status.conditions, ConditionType.READY)
    current = ready and job.status.observed_generation == job.metadata.generation
    return (live.intent if current and live else None) or UNKNOWN


def recalled_canary(job: FineTuneJob) -> Canary | None:
    """What the server that answered last said of itself, by the status."""
    known = job.status and job.status.serving and job.status.serving.canary
    if not known:
        return None
    try:
        return Canary.model_validate(known.model_dump())
    except ValidationError:  # of an operator of another version
        return None


def may_answer(live: DeploymentView) -> bool:
    """Whether an answer would be one of the newest make: while it rolls, earlier servers answer."""
    return live.ready > 0 and is_seen(live) and is_uniform(live)


def with_answers(
    server: Server, *, wanted: str | None, answered: str | None, canary: Canary | None, silence: str | None
) -> Server:
    """Say what the intent that has answered tells of the server."""
    live = server.deployment
    current = live is not None and answered is not None and answered == live.intent == wanted
    return replace(
        server,
        answered=current,
        answered_before=answered is not None and not current,
        canary=None if answered is None else canary,
        silence=silence,
    )
