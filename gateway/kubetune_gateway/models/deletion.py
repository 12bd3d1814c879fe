"""What may be deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..platform import Platform
from ..wire.errors import ApiError
from . import refusals
from .tuned import deployment_of, is_deployed, is_going, is_made, named


def to_delete(jobs: Iterable[Mapping[str, Any]], platform: Platform, id_: str) -> Mapping[str, Any]:
    """The FineTuneJob whose model has this id. Raises ApiError where it may not be deleted."""
    if id_ in platform.models:
        raise _refusal(f"{id_} is a base model of the platform: nobody deletes it.", "base_model")
    found = named(jobs, id_)
    if found is None or found.id != id_ or is_going(found.raw):
        raise refusals.unknown(id_)
    if not is_made(found.raw):
        raise refusals.not_made(found)
    if found.is_checkpoint:
        model = id_.rpartition(":")[0]
        raise _refusal(f"{id_} is a checkpoint, which is deleted with its model {model}.", "checkpoint")
    if is_deployed(found.raw):
        name = deployment_of(found.raw)
        raise _refusal(
            f"{id_} is deployed. Remove its server first: DELETE /openai/deployments/{name}, or kubectl "
            f'patch finetunejob {found.served_name} --type=merge -p \'{{"spec":{{"serving":null}}}}\'.',
            "model_deployed",
        )
    return found.raw


def _refusal(message: str, code: str) -> ApiError:
    return ApiError(message, code=code, param="model")
