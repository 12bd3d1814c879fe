"""What the platform decides about jobs that come over the API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .store.places import Places
from .wire.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model under a name that clients ask for."""

    uri: str
    """As spec.model.uri: ``hf://Qwen/Qwen3-8B``."""
    url: str | None = None
    """Base URL of a server that answers as this model, with /v1; None: a job's server that has it beside."""
    served_name: str | None = None
    """Its name there; None: the name that clients ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The chart's values for the gateway."""

    models: Mapping[str, Base]
    """Base models by the names that clients ask for: ``gpt-4o-mini-2024-07-18``."""
    places: Places
    """Where things of clients are."""
    credentials: str | None = None
    """Secret in a job's namespace by which prepare reads them."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What every FineTuneJob has beside: GPUs, serving, pod templates."""

    def base(self, model: str) -> Base:
        """The base model that a client asks for. Raises ApiError where there is none of this name."""
        found = self.models.get(model)
        if found is None:
            known = ", ".join(sorted(self.models)) or "none yet"
            raise ApiError(
                f"The model {model} cannot be fine-tuned here. Models of this platform: {known}.",
                code="model_not_found",
                param="model",
            )
        return found
