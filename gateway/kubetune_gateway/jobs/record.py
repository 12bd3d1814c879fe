"""A FineTuneJob as OpenAI's clients see it, whoever made it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubetune.vocabulary.json_values import dict_of, int_of, number_of, text_of
from kubetune.vocabulary.times import parse_time

from ..ids import job_id, model_id
from ..wire.jobs import ENDED, FineTuningJob, Hyperparameters, Method, Supervised
from . import remembered
from .hyperparameters import base_rate
from .status import error_of, finished_at, status_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known of a job beside its FineTuneJob."""

    cancelled_at: int | None = None
    """Unix seconds; None: it was not."""
    result_file: str | None = None
    """Id of the file with what was measured."""


NOTHING: Final = Beside()


def record(raw: Mapping[str, Any], beside: Beside = NOTHING) -> FineTuningJob:
    """The job that this FineTuneJob is; its schema has been checked by the API server."""
    meta, spec, status = dict_of(raw.get("metadata")), dict_of(raw.get("spec")), dict_of(raw.get("status"))
    notes, progress = dict_of(meta.get("annotations")), dict_of(status.get("progress"))
    training, dataset = dict_of(spec.get("training")), dict_of(spec.get("dataset"))
    found = status_of(raw) if beside.cancelled_at is None else "cancelled"
    ended = found in ENDED
    numbers = _hyperparameters(training, notes)
    return FineTuningJob(
        id=job_id(text_of(meta.get("uid"))),
        created_at=created_at(raw),
        finished_at=(_seconds(finished_at(raw)) if ended else None)
        if beside.cancelled_at is None
        else beside.cancelled_at,
        model=base_of(raw),
        fine_tuned_model=name_of(raw) if found == "succeeded" else None,
        organization_id=text_of(meta.get("namespace")),
        status=found,
        hyperparameters=numbers,
        result_files=(beside.result_file,) if ended and beside.result_file else (),
        seed=int_of(training.get("seed")),
        trained_tokens=int_of(progress.get("trainedTokens")) if ended else None,
        training_file=text_of(notes.get(remembered.TRAINING_FILE)) or _uri(dataset, "train"),
        validation_file=text_of(notes.get(remembered.VALIDATION_FILE)) or _uri(dataset, "validation") or None,
        error=error_of(raw) if found == "failed" else None,
        estimated_finish=_seconds(progress.get("estimatedCompletionTime")) if found == "running" else None,
        metadata=metadata_of(raw),
        method=Method(supervised=Supervised(hyperparameters=numbers)),
        user_provided_suffix=text_of(notes.get(remembered.SUFFIX)) or None,
    )


def name_of(raw: Mapping[str, Any]) -> str:
    """Id of the model that a job makes."""
    meta = dict_of(raw.get("metadata"))
    return model_id(
        base_of(raw),
        namespace=text_of(meta.get("namespace")),
        suffix=text_of(dict_of(meta.get("annotations")).get(remembered.SUFFIX)),
        uid=text_of(meta.get("uid")),
    )


def base_of(raw: Mapping[str, Any]) -> str:
    """The base model as it was asked for, else by its URI."""
    notes = dict_of(dict_of(raw.get("metadata")).get("annotations"))
    model = dict_of(dict_of(raw.get("spec")).get("model"))
    return text_of(notes.get(remembered.MODEL)) or text_of(model.get("uri"))


def created_at(raw: Mapping[str, Any]) -> int:
    """When it was made, in Unix seconds."""
    return _seconds(dict_of(raw.get("metadata")).get("creationTimestamp")) or 0


def metadata_of(raw: Mapping[str, Any]) -> dict[str, str] | None:
    """The client's own pairs."""
    notes = dict_of(dict_of(raw.get("metadata")).get("annotations"))
    try:
        found = json.loads(text_of(notes.get(remembered.METADATA)) or "null")
    except ValueError:
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None


def _hyperparameters(training: Mapping[str, Any], notes: Mapping[str, Any]) -> Hyperparameters:
    """Those of the spec; who uses kubectl may have numbers that could not be asked for over the wire."""
    epochs = number_of(training.get("epochs"))
    asked = number_of(notes.get(remembered.MULTIPLIER))
    rate, usual = number_of(training.get("learningRate")), base_rate({"adapter": training.get("adapter")})
    found = rate / float(usual) if rate is not None else 1.0
    return Hyperparameters.model_construct(
        n_epochs=max(1, round(epochs or 1)),
        batch_size=max(1, int_of(training.get("batchSize"))),
        learning_rate_multiplier=found if asked is None else asked,
    )


def _uri(dataset: Mapping[str, Any], which: str) -> str:
    return text_of(dict_of(dataset.get(which)).get("uri"))


def _seconds(text: object) -> int | None:
    found = parse_time(text)
    return None if found is None else int(found.timestamp())
