"""status.abstract: how the job stands, in a line. Pure, and total: any status as JSON has one.

kubectl describe prints fields by their names in order, and this one comes first. It gives the verdict and
where to read on; causes and advice stand once, in the conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..vocabulary.json_values import dict_of, dicts_of
from ..vocabulary.names import PROMOTE, TRAIN
from ..vocabulary.reasons import ConditionType
from ..vocabulary.sentences import shortened
from .raw_status import conditions_in

Json = Mapping[str, Any]

_CAUSES: Final = (
    (ConditionType.STALLED, "Stalled", "why, and what to do"),
    (ConditionType.RECONCILING, "Going on", "more"),
)
"""Conditions that tell a cause, how the line calls it, and what is read there."""


def with_abstract(status: Json) -> dict[str, Any]:
    """Return the status with the line that fits it."""
    return {**status, "abstract": abstract_of(status)}


def abstract_of(status: Json) -> str:
    """The verdict on a job by its status."""
    conditions = conditions_in(status)
    stage = str(status.get("stage") or "the start")
    for cause, verdict, says in _CAUSES:
        found = conditions.get(cause, {})
        if found.get("status") == "True":
            parts = [str(found.get("reason")), *_progress(status, stage), *_scored(status, stage)]
            return f"{verdict} at {stage}: {', '.join(parts)}. Condition {cause} says {says}."
    if conditions.get(ConditionType.READY, {}).get("status") != "True":
        return f"At {stage}."
    return f"{'. '.join(_reached(status))}."


def _progress(status: Json, stage: str) -> Iterator[str]:
    """How far training is, while it is what goes on."""
    progress = dict_of(status.get("progress"))
    if stage != TRAIN or not progress.get("summary"):
        return
    yield f"step {progress['summary']}"
    for attempt in dicts_of(status.get("attempts"))[-1:]:
        yield f"attempt {attempt.get('number')}"
    if progress.get("loss"):
        yield f"loss {progress['loss']}"
    if progress.get("estimatedCompletionTime"):
        yield f"expected to end at {progress['estimatedCompletionTime']}"


def _scored(status: Json, stage: str) -> Iterator[str]:
    """What the evaluation found, while it is what a person decides about."""
    scores = _scores(dict_of(status.get("evaluation")))
    if stage == PROMOTE and scores:
        yield scores


def _reached(status: Json) -> Iterator[str]:
    """What there is now, and how good it is."""
    serving, artifact = dict_of(status.get("serving")), dict_of(status.get("artifact"))
    if serving.get("url"):
        yield f"Serves as {shortened(str(serving.get('modelName')))} at {serving['url']}"
    elif artifact.get("uri"):
        yield f"Done: {artifact['uri']}"
    else:
        yield "Done"
    if scores := _scores(dict_of(status.get("evaluation"))):
        yield scores
    progress = dict_of(status.get("progress"))
    losses = (("loss", progress.get("loss")), ("validation loss", progress.get("validationLoss")))
    told = " and ".join(f"{name} {value}" for name, value in losses if value)
    if told:
        yield f"Trained to {told}"


def _scores(evaluation: Json) -> str:
    """The result beside what it is compared with."""
    candidates = [c for c in dicts_of(evaluation.get("candidates")) if c.get("score") is not None]
    if not candidates:
        return ""
    tuned, *others = (f"{c.get('name')} {c['score']}" for c in candidates)
    return f"{evaluation.get('metric')}: {tuned}" + (f" against {', '.join(others)}" if others else "")
