"""Earlier weights of a job that its server answers with, each under a model's id of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubetune.vocabulary.json_values import dict_of, dicts_of, int_of, text_of

from .record import name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The weights as they were at the end of an epoch."""

    step: int
    model: str
    """Id of the model, for clients."""
    served_name: str
    """Its name in the job's server."""


def checkpoints(raw: Mapping[str, Any]) -> list[Checkpoint]:
    """Those that the job's artifact has beside the last weights, the earliest first."""
    artifact = dict_of(dict_of(raw.get("status")).get("artifact"))
    return [
        Checkpoint(
            step=int_of(kept.get("step")),
            model=f"{name_of(raw)}:ckpt-step-{int_of(kept.get('step'))}",
            served_name=text_of(kept.get("modelName")),
        )
        for kept in dicts_of(artifact.get("checkpoints"))
    ]
