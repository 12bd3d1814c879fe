"""Resources of a pod, as Kubernetes spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from kubetune.api.base import LABEL_KEY, Map, Quantity, Rule, SpecModel

_KEY: Final = re.compile(LABEL_KEY[1:-1])


def keys_are_names(mapping: Mapping[str, object] | None) -> bool:
    """Every key has the form of a label key."""
    return all(_KEY.fullmatch(key) for key in mapping or ())


def keys_rule(field: str, attribute: str, *, noun: str) -> Rule:
    """Rule for the keys of a map, which a schema cannot describe."""
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(k, k.matches(r'{LABEL_KEY}'))",
        check=lambda model: keys_are_names(getattr(model, attribute)),
        path=f".{field}",
        message=f"a key is not {noun}; write it as name or domain/name",
    )


class Resources(SpecModel):
    """Requests and limits of one pod's main container."""

    rules: ClassVar = (
        keys_rule("limits", "limits", noun="a resource name"),
        keys_rule("requests", "requests", noun="a resource name"),
    )

    limits: Map[Quantity] | None = None
    """The most the container may use, by resource: {nvidia.com/gpu: 4, memory: 64Gi}."""
    requests: Map[Quantity] | None = None
    """What the scheduler reserves, by resource. Default: the limits, and where they name none 1 CPU
    and 4Gi of memory, or 2 CPUs and 12Gi for each GPU."""
