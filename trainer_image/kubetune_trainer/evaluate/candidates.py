"""Who is asked: the tuned model and what it is compared with, each behind a server that the operator made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contract import evaluation as names
from ..contract.config import TrainerConfig
from ..contract.errors import InvalidInput
from ..scoring.questions import PLAIN
from ..store.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of those that answer."""

    name: str
    """``Tuned`` or a baseline's type."""
    url: str | None
    """Base URL of its server; ends in /v1. None: an earlier run has asked it, and its server is gone."""
    model: str
    """Its name in the server."""
    prompt: str
    """Which of a question's prompts it is asked."""
    identity: Mapping[str, Any]
    """What decides its answers beside the request."""


def variable(environment: Mapping[str, str], name: str) -> str:
    """A variable that the operator sets.

    Raises:
        InvalidInput: it has not.
    """
    if value := environment.get(name):
        return value
    raise InvalidInput(
        f"The environment has no {name}, which the operator sets: use the trainer image that belongs to it."
    )


def tuned(config: TrainerConfig, environment: Mapping[str, str]) -> Candidate | None:
    """The model that was trained; None in a run that asks the base of a full fine-tune alone.

    Raises:
        InvalidInput: the environment does not say what its name is.
    """
    if not environment.get(names.CANDIDATE_URL):
        return None
    return Candidate(
        name=names.TUNED,
        url=environment[names.CANDIDATE_URL],
        model=variable(environment, names.CANDIDATE_MODEL),
        prompt=PLAIN,
        identity={"artifact": variable(environment, names.ARTIFACT_DIGEST), **_template(config)},
    )


def baseline(
    name: names.BaselineType, config: TrainerConfig, artifact: Manifest, environment: Mapping[str, str]
) -> Candidate:
    """The base model of an artifact, with the prompt of a baseline.

    Raises:
        InvalidInput: the environment does not say what its name is.
    """
    base = {key: artifact.details.get(key) for key in ("base_model", "base_revision")}
    return Candidate(
        name=name,
        url=environment.get(names.BASE_URL) or None,
        model=variable(environment, names.BASE_MODEL),
        prompt=PLAIN if name == "Base" else name,
        identity={**base, **_template(config)},
    )


def _template(config: TrainerConfig) -> dict[str, Any]:
    """What servers put around a conversation."""
    data = config.dataset
    return {"template": data.chat_template, "arguments": data.chat_template_kwargs}
