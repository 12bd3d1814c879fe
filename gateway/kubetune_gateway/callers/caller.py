"""Who calls, and what rights are given on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verb = Literal["get", "list", "create", "update", "delete"]
Resource = Literal["finetunejobs", "finetunejobs/files", "finetunejobs/completions"]
"""What rights are given on, in the group kubetune.dev: jobs; files and uploads; answers of models, stored
ones too. The last two are no objects: roles name them as they name pods/exec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, as Kubernetes knows them, and the one namespace that they act in."""

    user: str
    groups: tuple[str, ...] = ()
    namespace: str
    uid: str | None = None
    extra: Mapping[str, Sequence[str]] | None = None
    """As TokenReview told it, like the uid, for SubjectAccessReview."""
