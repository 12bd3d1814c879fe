"""Why a model is not answered, and what to do. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from kubetune.vocabulary.json_values import condition_in, dict_of, text_of
from kubetune.vocabulary.reasons import ConditionType

from ..ids import job_id
from ..jobs.status import error_of, status_of
from ..wire.errors import ApiError
from .tuned import Tuned

LOADING_SECONDS: Final = 10
"""After which another try is worth it: a small model on CPU loads in about half a minute."""


def unknown(model: str) -> ApiError:
    """No such model, or none that the caller may see."""
    return _no_model(
        f"The model {model} does not exist in your namespace, or not any more: GET /v1/models lists those "
        "that are there."
    )


def no_deployment(name: str) -> ApiError:
    """No such deployment, or none that the caller may see."""
    return ApiError(
        f"There is no deployment {name}: GET /openai/deployments lists those that there are.",
        status=HTTPStatus.NOT_FOUND,
        code="deployment_not_found",
        param="name",
    )


def not_made(tuned: Tuned) -> ApiError:
    """Of a job without a model, or without one yet."""
    meta, error = dict_of(tuned.raw.get("metadata")), error_of(tuned.raw)
    job = job_id(text_of(meta.get("uid")))
    if error is not None:
        failed = "did not pass its gate" if error.code == "gate_failed" else "has failed"
        return _no_model(f"There is no model {tuned.id}: the job {job} {failed}. {error.message}")
    return _no_model(
        f"There is no model {tuned.id} yet: the job {job} is {status_of(tuned.raw)}. Wait for its success."
    )


def not_deployed(tuned: Tuned) -> ApiError:
    """Of a model without a server."""
    name = text_of(dict_of(tuned.raw.get("metadata")).get("name"))
    return _not_deployed(
        f"The model {tuned.id} has no server. Deploy it: PUT /openai/deployments/{name} with "
        f'{{"model": "{tuned.id}"}}, or kubectl patch finetunejob {name} --type=merge -p '
        '\'{"spec":{"serving":{}}}\'.'
    )


def loading(tuned: Tuned) -> ApiError:
    """Of a server that does not answer yet, or not now, with what is known of it."""
    status = dict_of(tuned.raw.get("status"))
    told = (condition_in(status, type_) for type_ in (ConditionType.STALLED, ConditionType.RECONCILING))
    why = next((text_of(one.get("message")) for one in told if one.get("status") == "True"), "")
    return _loading(f"The server of {tuned.id} does not answer yet. {why}".strip())


def base_loading(model: str) -> ApiError:
    """Of a base model whose only servers load."""
    return _loading(f"No server that has {model} answers yet.")


def base_not_deployed(model: str) -> ApiError:
    """Of a base model that nobody answers as."""
    return _not_deployed(
        f"No server answers as {model}. That of a LoRA job on it does, in your namespace and without keys of "
        "its own: deploy one; or have the platform's administrator name a server for it."
    )


def has_keys(tuned: Tuned) -> ApiError:
    """Of a server that asks for keys, which nobody here has."""
    url = text_of(dict_of(dict_of(tuned.raw.get("status")).get("serving")).get("url"))
    return ApiError(
        f"The server of {tuned.id} asks for keys of its own (spec.serving.apiKey), which are not known here. "
        f"Ask it at {url}, or remove apiKey.",
        code="server_has_keys",
        param="model",
    )


def _no_model(message: str) -> ApiError:
    return _error(message, HTTPStatus.NOT_FOUND, "model_not_found")


def _not_deployed(message: str) -> ApiError:
    return _error(message, HTTPStatus.NOT_FOUND, "model_not_deployed")


def _loading(message: str) -> ApiError:
    return _error(message, HTTPStatus.SERVICE_UNAVAILABLE, "model_loading", retry_after=LOADING_SECONDS)


def _error(message: str, status: HTTPStatus, code: str, **more: Any) -> ApiError:
    return ApiError(message, status=status, code=code, param="model", **more)
