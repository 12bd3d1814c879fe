"""The platform's settings, from KUBETUNE_* environment variables; in the order of the chart's values.yaml.

Parsed once at start; all errors are reported at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ..spec.platform_policy import PlatformPolicy
from ..spec.settings import JobSettings
from .metrics.fields import MetricField, metric_fields

PREFIX = "KUBETUNE_"
_JSON = ("tuple", "PodTemplate", "Prices", "NetworkPolicies")
"""Types that are written as JSON."""


class Settings(PlatformPolicy, JobSettings):
    """All settings of the operator."""

    watch_namespaces: tuple[str, ...] = ()
    """Empty: the whole cluster."""
    lease_name: str = "kubetune"
    """The Lease that says which of several operators acts: one name for those that do the same work."""
    lease_namespace: str = "default"
    """Its namespace; in a cluster that of the release."""
    workers: int = Field(default=16, ge=1, le=256)
    """Reconciles at a time."""
    metrics_port: int = 8080
    health_port: int = 8081
    log_format: Literal["json", "plain"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"

    @field_validator("http_proxy", "https_proxy", "hf_endpoint")
    @classmethod
    def _has_no_password(cls, url: str | None, info: ValidationInfo) -> str | None:
        """Each job's ConfigMap and pods show it. Jobs that have one from before run to their end."""
        if url is not None and "@" in url:
            what = "has a user or password, which every namespace with jobs could read"
            instead = "let the server know its clients by their network"
            if info.field_name != "hf_endpoint":
                instead = f"name a Secret in settings.proxySecretName, or {instead}"
            message = f"{what}: take it out, and {instead}"
            raise PydanticCustomError("rule", "{message}", {"message": message})
        return url

    @field_validator("proxy_secret_name")
    @classmethod
    def _replaces_the_proxies(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and (info.data.get("http_proxy") or info.data.get("https_proxy")):
            message = "brings the proxies' URLs: remove settings.httpProxy and settings.httpsProxy, or this"
            raise PydanticCustomError("rule", "{message}", {"message": message})
        return name

    @field_validator("metric_fields")
    @classmethod
    def _can_be_told(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        try:
            metric_fields(fields)
        except ValueError as error:
            raise PydanticCustomError("rule", "{message}", {"message": str(error)}) from None
        return fields

    @property
    def fields_in_metrics(self) -> tuple[MetricField, ...]:
        """What metric_fields says, as metrics need it."""
        return metric_fields(self.metric_fields)

    @property
    def for_job(self) -> JobSettings:
        """What is frozen into a job's ConfigMap."""
        return JobSettings.model_validate(self.model_dump(include=set(JobSettings.model_fields)))

    @property
    def policy(self) -> PlatformPolicy:
        """What holds for all jobs at once."""
        return PlatformPolicy.model_validate(self.model_dump(include=set(PlatformPolicy.model_fields)))


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read KUBETUNE_<FIELD> variables.

    Lists and objects are JSON, ``null`` is None (runAsUser on OpenShift).

    Raises pydantic.ValidationError naming every missing or wrong variable, ValueError when one is no JSON.
    """
    values: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        text = environ.get(PREFIX + name.upper())
        if text is None or text == "":
            continue
        is_json = text == "null" or any(kind in str(field.annotation) for kind in _JSON)
        values[name] = _json(name, text) if is_json else text
    return Settings.model_validate(values)


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{PREFIX}{name.upper()} is no JSON: {error}") from None
