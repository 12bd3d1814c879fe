"""The gateway's settings, from KUBETUNE_GATEWAY_* variables; in the order of the chart's values.

Parsed once at start; all errors are reported at once. Keys of S3 are none of them: AWS_ACCESS_KEY_ID and so
on are read as all of AWS's programs read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import PydanticCustomError

from ..jobs.manifest import manifest
from ..limits.kinds import Limits
from ..platform import Base, Platform
from ..store.places import Places
from ..webhooks.endpoint import CANCELLED, FAILED, SUCCEEDED, EventType
from ..wire.errors import ApiError
from ..wire.jobs import CreateJob

PREFIX = "KUBETUNE_GATEWAY_"


class _Value(BaseModel):
    """What is written as in values.yaml."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class Model(_Value):
    """A base model. A string is its URI."""

    uri: str
    url: str | None = Field(default=None, pattern="^https?://")
    served_name: str | None = None


class Storage(_Value):
    """The bucket."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    prefix: str = Field(default="", pattern=r"^([^/\s]\S*/)?$")
    endpoint: str = ""
    """Empty: AWS_ENDPOINT_URL, else AWS's own."""
    region: str = ""
    """Empty: AWS_REGION, else what AWS's programs find."""


class ApiKeys(_Value):
    """Keys that the gateway makes."""

    enabled: bool = True


class Webhook(_Value):
    """Who is told of jobs of a namespace."""

    namespace: str
    url: str
    secret_file: Path
    """What signs it: whsec_... in base64."""
    events: tuple[EventType, ...] = (SUCCEEDED, FAILED, CANCELLED)


def _as_model(value: Any) -> Any:
    return {"uri": value} if isinstance(value, str) else value


def _as_limits(value: Any) -> Any:
    """Names as in values.yaml; pydantic looks at what they are, and passes over those that there are not."""
    if not isinstance(value, dict):
        return value
    given = {to_snake(name): limit for name, limit in value.items()}
    known = {field.name for field in fields(Limits)}
    if unknown := sorted(name for name in value if to_snake(name) not in known):
        raise ValueError(f"there is no limit {', '.join(unknown)}")
    if wrong := sorted(
        name for name, limit in value.items() if isinstance(limit, int | float) and limit <= 0
    ):
        raise ValueError(f"{', '.join(wrong)} has to be more than 0")
    return given


class Settings(BaseModel):
    """All settings of the gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    models: dict[str, Annotated[Model, BeforeValidator(_as_model)]] = {}
    spec: dict[str, Any] = {"training": {"gpusPerNode": 1}, "serving": {}}
    """What every FineTuneJob has beside."""
    storage: Storage
    job_credentials_secret: str = ""
    namespaces: tuple[str, ...] = ()
    """Empty: all."""
    audiences: tuple[str, ...] = ()
    """Of callers' tokens; empty: the API server's."""
    api_keys: ApiKeys = ApiKeys()
    limits: Annotated[Limits, BeforeValidator(_as_limits)] = Limits()
    webhooks: tuple[Webhook, ...] = ()
    drain_seconds: int = Field(default=300, ge=0)
    """How long answers that were begun may go on when the process is told to end."""
    lease_name: str = "kubetune-gateway"
    """The Lease of the replica that records jobs."""
    lease_namespace: str = "default"
    """Its namespace; in a cluster that of the release."""
    api_port: int = 8080
    """Not just port: Kubernetes tells pods of a Service kubetune-gateway by KUBETUNE_GATEWAY_PORT."""
    metrics_port: int = 9090
    """Of probes and metrics."""
    log_format: Literal["json", "plain"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"

    @property
    def platform(self) -> Platform:
        """What the routes need of it."""
        return Platform(
            models={
                name: Base(uri=model.uri, url=model.url, served_name=model.served_name)
                for name, model in self.models.items()
            },
            places=Places(self.storage.bucket, self.storage.prefix),
            credentials=self.job_credentials_secret or None,
            spec=self.spec,
        )

    @model_validator(mode="after")
    def _makes_jobs(self) -> Settings:
        """Make sure that a job of each model would be taken: better refused now than when a client asks."""
        platform = self.platform
        if not self.models:
            platform = replace(platform, models={"any": Base(uri="hf://any/model")})
        for name in platform.models:
            asked = CreateJob(model=name, training_file="file-of-a-client")
            try:
                manifest(asked, platform, namespace="default", token="a1", examples=1, seed=0)
            except ApiError as error:
                where = f"{PREFIX}MODELS ({name}) and {PREFIX}SPEC make no FineTuneJob"
                raise PydanticCustomError("rule", "{message}", {"message": f"{where}: {error}"}) from None
        return self


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read KUBETUNE_GATEWAY_<FIELD> variables; all but texts are JSON.

    Raises ValidationError naming every missing or wrong variable, ValueError when one is no JSON.
    """
    values: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        text = environ.get(PREFIX + name.upper())
        if not text:
            continue
        is_text = field.annotation is str or get_origin(field.annotation) is Literal
        values[name] = text if is_text else _json(name, text)
    return Settings.model_validate(values)


def explain(error: Exception) -> str:
    """What is wrong with the settings: each variable, and the place in it."""
    if not isinstance(error, ValidationError):
        return f"The settings cannot be read: {error}"
    lines = ["The settings are wrong:"]
    for problem in error.errors():
        variable, *path = (*problem["loc"], "")
        where = f"{PREFIX}{variable}".upper() + "".join(f", {part}" for part in path if part != "")
        lines.append(f"  {where}: {problem['msg']}" if variable else f"  {problem['msg']}")
    return "\n".join(lines)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{PREFIX}{name.upper()} is no JSON: {error}") from None
