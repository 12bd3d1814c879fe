"""Deployments, as Azure's data plane has them: a model's server under a name of the client's. Pure.

Nothing keeps them beside FineTuneJobs: whoever sets spec.serving has made one, under the job's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kubetune.vocabulary.json_values import condition_in, dict_of, dicts_of, text_of
from kubetune.vocabulary.reasons import ConditionType
from kubetune.vocabulary.times import parse_time

from ..jobs import remembered
from ..platform import Platform
from ..wire.errors import ApiError
from ..wire.models import Deployment
from . import refusals
from .tuned import (
    Tuned,
    age,
    created,
    deployment_of,
    given_name,
    is_answering,
    is_deployed,
    is_going,
    is_made,
    last,
    named,
)

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

Jobs = Iterable[Mapping[str, Any]]


def deployments(jobs: Jobs) -> list[Deployment]:
    """All of a namespace, the newest first."""
    return [deployment(raw) for raw in sorted(filter(is_one, jobs), key=age, reverse=True)]


def is_one(raw: Mapping[str, Any]) -> bool:
    """Whether a job has one: a model, and a server that is asked for."""
    return is_made(raw) and is_deployed(raw) and not is_going(raw)


def holder(jobs: Jobs, name: str) -> Mapping[str, Any] | None:
    """The job whose deployment has this name; one that a client gave stays when others remove the server."""
    so_named = [raw for raw in jobs if deployment_of(raw) == name and not is_going(raw)]
    return min((raw for raw in so_named if is_one(raw) or given_name(raw)), key=age, default=None)


def deployment(raw: Mapping[str, Any]) -> Deployment:
    """That of a job on the wire."""
    status = dict_of(raw.get("status"))
    stalled = condition_in(status, ConditionType.STALLED).get("status") == "True"
    changed = [parse_time(one.get("lastTransitionTime")) for one in dicts_of(status.get("conditions"))]
    return Deployment(
        id=deployment_of(raw),
        model=last(raw).id,
        owner=text_of(dict_of(raw.get("metadata")).get("namespace")),
        created_at=created(raw),
        updated_at=max([created(raw), *(int(at.timestamp()) for at in changed if at is not None)]),
        status="succeeded" if is_answering(raw) else "failed" if stalled else "running",
    )


def to_deploy(jobs: Jobs, platform: Platform, *, name: str, model: str) -> Tuned:
    """The model that is to be deployed under a name. Raises ApiError where that cannot be."""
    jobs = list(jobs)
    _check_name(name, platform)
    if model in platform.models:
        raise ApiError(
            f"{model} is a base model: ask for it by this name, without a deployment.",
            code="invalid_value",
            param="model",
        )
    found = named(jobs, model)
    if found is None or is_going(found.raw):
        raise refusals.unknown(model)
    if found.is_checkpoint:
        raise ApiError(
            f"{model} is a checkpoint: the server of the job's model answers as it, too, by this id.",
            code="invalid_value",
            param="model",
        )
    if not is_made(found.raw):
        raise refusals.not_made(found)
    _check_free(jobs, found, name)
    return found


def _check_name(name: str, platform: Platform) -> None:
    if _NAME.fullmatch(name) is None:
        raise ApiError(
            "A deployment's name has up to 64 letters, digits, dots, hyphens and underscores, and begins and "
            "ends with a letter or digit.",
            code="invalid_value",
            param="name",
        )
    if name in platform.models:
        raise ApiError(
            f"{name} is the name of a base model: choose another.", code="invalid_value", param="name"
        )


def _check_free(jobs: Jobs, tuned: Tuned, name: str) -> None:
    """A name leads to one model, and one that clients know stays: a deployment is not renamed by another."""
    for raw in jobs:
        job = text_of(dict_of(raw.get("metadata")).get("name"))
        if raw is not tuned.raw and name in (job, deployment_of(raw)):
            raise ApiError(
                f"{name} is the deployment of {last(raw).id}: choose another name, or DELETE that one.",
                code="name_in_use",
                param="name",
            )
    given = given_name(tuned.raw)
    if is_deployed(tuned.raw) and given not in ("", name):
        raise ApiError(
            f"{tuned.id} is deployed as {given}: ask for it by this name, or DELETE that deployment first.",
            code="already_deployed",
            param="model",
        )


def deploying(tuned: Tuned, platform: Platform, *, name: str) -> dict[str, Any]:
    """Merge patch of the job that deploys its model; a server that is there stays as it is."""
    patch: dict[str, Any] = {"metadata": {"annotations": {remembered.DEPLOYMENT: name}}}
    if not is_deployed(tuned.raw):
        patch["spec"] = {"serving": platform.spec.get("serving") or {}}
    return patch


def removing() -> dict[str, Any]:
    """Merge patch of the job that removes its server."""
    return {"metadata": {"annotations": {remembered.DEPLOYMENT: None}}, "spec": {"serving": None}}
