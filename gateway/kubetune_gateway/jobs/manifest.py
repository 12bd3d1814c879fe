"""From a client's request to a FineTuneJob. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kubetune.api.base import decimal_text
from kubetune.api.v1alpha1 import validate_spec
from kubetune.api.v1alpha1.job import NAME_LENGTH
from kubetune.vocabulary.errors import SpecError
from kubetune.vocabulary.json_values import dict_of, int_of
from kubetune.vocabulary.names import API_VERSION, KIND

from ..ids import slug
from ..platform import Platform
from ..wire.errors import ApiError
from ..wire.jobs import CreateJob, Hyperparameters
from . import remembered
from .checkpoints import EARLIER
from .hyperparameters import base_rate, resolved


def manifest(
    asked: CreateJob, platform: Platform, *, namespace: str, token: str, examples: int, seed: int
) -> dict[str, Any]:
    """Return the FineTuneJob of a request.

    ``token`` tells jobs of one suffix apart: a few letters and digits. ``examples`` is the number of training
    rows, by which "auto" is resolved; ``seed`` is taken where the client gives none.

    Raises ApiError with the field that is at fault.
    """
    template = {name: dict(block) for name, block in platform.spec.items()}
    training = dict_of(template.get("training"))
    processes = max(1, int_of(training.get("gpusPerNode"))) * max(1, int_of(training.get("nodes", 1)))
    numbers = resolved(asked.wanted, examples=examples, world_size=processes)
    rate = base_rate(training) * Decimal(str(numbers.learning_rate_multiplier))
    files = {"train": asked.training_file, "validation": asked.validation_file}
    job = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": _name(asked, token),
            "namespace": namespace,
            "annotations": _notes(asked, numbers),
        },
        "spec": {
            **template,
            "model": {**dict_of(template.get("model")), "uri": platform.base(asked.model).uri},
            "dataset": {
                **dict_of(template.get("dataset")),
                **{which: _source(platform, namespace, id_) for which, id_ in files.items() if id_},
            },
            "training": {
                **_kept_epochs(training),
                **training,
                "epochs": numbers.n_epochs,
                "batchSize": numbers.batch_size,
                "learningRate": decimal_text(rate),
                "seed": seed if asked.seed is None else asked.seed,
            },
        },
    }
    try:
        validate_spec(job)
    except SpecError as error:
        raise ApiError(str(error), code="invalid_request") from None
    return job


def _kept_epochs(training: Mapping[str, Any]) -> dict[str, int]:
    """Clients expect the weights of the last three epochs; those of whole models are too large to keep."""
    is_full = dict_of(training.get("adapter")).get("type") == "Full"
    return {} if is_full else {"keepEpochs": EARLIER}


def _name(asked: CreateJob, token: str) -> str:
    """Name of the object, which is also a Service's: it begins with a letter."""
    told = slug(asked.suffix or asked.model).replace(".", "-")
    room = NAME_LENGTH - len("ft--") - len(token)
    return f"ft-{told[:room].strip('-')}-{token}"


def _notes(asked: CreateJob, numbers: Hyperparameters) -> dict[str, str]:
    found: Mapping[str, str | None] = {
        remembered.MODEL: asked.model,
        remembered.SUFFIX: asked.suffix,
        remembered.TRAINING_FILE: asked.training_file,
        remembered.VALIDATION_FILE: asked.validation_file,
        remembered.MULTIPLIER: f"{numbers.learning_rate_multiplier}",
        remembered.METADATA: json.dumps(asked.metadata) if asked.metadata else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _source(platform: Platform, namespace: str, id_: str) -> dict[str, Any]:
    source: dict[str, Any] = {"uri": platform.places.uri(namespace, id_)}
    return source | ({"credentials": {"secretName": platform.credentials}} if platform.credentials else {})
