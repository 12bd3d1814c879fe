"""The models of a namespace, as lists of models tell them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubetune.vocabulary.json_values import dict_of, text_of

from ..platform import Platform
from ..wire.models import PLATFORM, Model
from .refusals import unknown
from .tuned import Tuned, created, earlier, is_deployed, is_going, is_made, last, named


def listed(jobs: Iterable[Mapping[str, Any]], platform: Platform) -> list[Model]:
    """Those that programs offer for a choice: what has a server, and base models; the newest first."""
    tuned = [
        described(one)
        for raw in jobs
        if is_made(raw) and is_deployed(raw) and not is_going(raw)
        for one in (last(raw), *earlier(raw))
    ]
    newest_first = sorted(tuned, key=lambda model: (-model.created, model.id))
    return newest_first + [_base(name) for name in sorted(platform.models)]


def model_of(jobs: Iterable[Mapping[str, Any]], platform: Platform, id_: str) -> Model:
    """One by its id, also one without a server. Raises ApiError where there is none."""
    if id_ in platform.models:
        return _base(id_)
    found = named(jobs, id_)
    if found is None or found.id != id_ or not is_made(found.raw) or is_going(found.raw):
        raise unknown(id_)
    return described(found)


def described(tuned: Tuned) -> Model:
    """A tuned model on the wire."""
    namespace = text_of(dict_of(tuned.raw.get("metadata")).get("namespace"))
    return Model(id=tuned.id, created=created(tuned.raw), owned_by=namespace)


def _base(name: str) -> Model:
    return Model(id=name, created=0, owned_by=PLATFORM)  # nobody knows when
