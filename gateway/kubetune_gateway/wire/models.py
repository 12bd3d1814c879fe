"""Models and deployments on the wire. Sources: openai/openai-openapi (2026-08); Azure OpenAI's data plane."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from .jobs import Wire

PLATFORM: Final = "kubetune"
"""Owner of base models."""


class Model(Wire):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix seconds, as all times here."""
    owned_by: str
    """The namespace, or the platform."""


class Models(Wire):
    """All models, on one page."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class CreateDeployment(Wire):
    """Body of PUT /deployments/{name}."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Deployment(Wire):
    """A model that has a server, by a name that clients chose."""

    id: str
    object: Literal["deployment"] = "deployment"
    model: str
    owner: str
    """The namespace."""
    created_at: int
    updated_at: int
    status: Literal["running", "succeeded", "failed"]
    """Whether it comes up, answers, or does neither."""
    scale_settings: dict[str, Any] = Field(default={"scale_type": "standard"})
