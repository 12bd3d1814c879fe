"""Who answers as a model. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubetune.vocabulary.json_values import dict_of, text_of
from kubetune.vocabulary.names import Names

from ..platform import Base, Platform
from . import refusals
from .tuned import age, is_answering, is_deployed, is_going, is_made, named


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a model is asked."""

    url: str
    """Base URL, with /v1."""
    served_name: str
    """The model's name there."""
    label: str
    """For metrics: the FineTuneJob's name, or the base model's."""


def target(jobs: Sequence[Mapping[str, Any]], platform: Platform, model: str) -> Target:
    """Where a model of this name is asked. Raises ApiError with what to do where nobody answers as it."""
    base = platform.models.get(model)
    if base is not None:
        return _of_base(jobs, base, model)
    found = named(jobs, model)
    if found is None or is_going(found.raw):
        raise refusals.unknown(model)
    if not is_made(found.raw):
        raise refusals.not_made(found)
    if not is_deployed(found.raw):
        raise refusals.not_deployed(found)
    if _has_keys(found.raw):
        raise refusals.has_keys(found)
    if not is_answering(found.raw):
        raise refusals.loading(found)
    return _of_job(found.raw, found.served_name, label=_name(found.raw))


def _of_base(jobs: Iterable[Mapping[str, Any]], base: Base, model: str) -> Target:
    """The platform's own server, else the oldest of those that have the base beside an adapter."""
    if base.url is not None:
        return Target(url=base.url, served_name=base.served_name or model, label=model)
    having = [raw for raw in jobs if _has_beside(raw, base.uri) and not _has_keys(raw) and not is_going(raw)]
    answering = [raw for raw in having if is_answering(raw)]
    if answering:
        chosen = min(answering, key=age)  # the same one as long as it answers: its cache knows the prompts
        return _of_job(chosen, Names(_name(chosen)).base(base.uri), label=model)
    raise refusals.base_loading(model) if having else refusals.base_not_deployed(model)


def _has_beside(raw: Mapping[str, Any], uri: str) -> bool:
    spec, status = dict_of(raw.get("spec")), dict_of(raw.get("status"))
    is_adapter = dict_of(status.get("artifact")).get("type") == "LoRA"
    return is_adapter and is_deployed(raw) and dict_of(spec.get("model")).get("uri") == uri


def _has_keys(raw: Mapping[str, Any]) -> bool:
    return bool(dict_of(dict_of(raw.get("spec")).get("serving")).get("apiKey"))


def _of_job(raw: Mapping[str, Any], served_name: str, *, label: str) -> Target:
    url = text_of(dict_of(dict_of(raw.get("status")).get("serving")).get("url"))
    return Target(url=url, served_name=served_name, label=label)


def _name(raw: Mapping[str, Any]) -> str:
    return text_of(dict_of(raw.get("metadata")).get("name"))
