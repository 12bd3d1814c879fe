"""Earlier weights of a job that its server answers with, each under a model's id of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubetune.vocabulary.json_values import dict_of, dicts_of, int_of, text_of
from kubetune.vocabulary.times import parse_time

from ..ids import checkpoint_id, job_id
from ..wire.checkpoints import JobCheckpoint
from .record import name_of
from .status import finished_at, status_of
from .steps import Step

EARLIER: Final = 2
"""Epochs before the last whose weights are kept and listed, as OpenAI does."""


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


def told(raw: Mapping[str, Any], steps: Sequence[Step]) -> list[JobCheckpoint]:
    """All weights of a job that has succeeded, as clients are told of them: the last ones first."""
    if status_of(raw) != "succeeded":
        return []
    uid = text_of(dict_of(raw.get("metadata")).get("uid"))
    measured = {step.step: step for step in steps}
    last = _last_step(raw)
    models = {kept.step: kept.model for kept in checkpoints(raw)[-EARLIER:]}
    models.pop(last, None)
    found = [(last, name_of(raw)), *sorted(models.items(), reverse=True)] if last else []
    return [
        JobCheckpoint(
            id=checkpoint_id(uid, number),
            created_at=_made_at(raw, measured.get(number)),
            fine_tuned_model_checkpoint=model,
            fine_tuning_job_id=job_id(uid),
            step_number=number,
            metrics={"step": number, **(measured[number].metrics if number in measured else {})},
        )
        for number, model in found
    ]


def _last_step(raw: Mapping[str, Any]) -> int:
    """Step of the weights that a job's own model has; 0 where nothing was trained."""
    status = dict_of(raw.get("status"))
    artifact, progress = dict_of(status.get("artifact")), dict_of(status.get("progress"))
    return int_of(artifact.get("step")) or int_of(progress.get("step"))


def _made_at(raw: Mapping[str, Any], step: Step | None) -> int:
    """When a step was measured; of one that was not it is only known that the job has ended since."""
    ended = parse_time(finished_at(raw))
    return int(step.at) if step is not None else 0 if ended is None else int(ended.timestamp())
