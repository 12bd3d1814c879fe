"""What clients are told when the API server refuses or does not answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from kubetune.vocabulary.errors import (
    Conflict,
    Invalid,
    KubeError,
    KubeTuneError,
    MissingPermission,
    NotFound,
    TransientError,
)

from ..wire.errors import ApiError, unavailable

API_SERVER: Final = "The Kubernetes API server"

_LONGEST_WAIT: Final = 60
"""Seconds that a client is asked to wait at most."""

_UNTIL_GIVEN: Final = 30
"""Seconds until a client asks again whether the gateway has the right that it lacks."""


@contextmanager
def told() -> Iterator[None]:
    """Turn errors of the API server within the block into what clients are told."""
    try:
        yield
    except KubeTuneError as error:
        raise refusal(error) from error


def refusal(error: KubeTuneError) -> ApiError:
    """What a client is told, in the API server's own words where the request is at fault."""
    match error:
        case MissingPermission():
            return lacking(error.verb, error.kind, error.namespace)
        case NotFound():
            # Of the object alone: who makes one in a namespace that is not there is told so by these words.
            return ApiError(error.message, status=HTTPStatus.NOT_FOUND, code="not_found")
        case Conflict():
            return ApiError(
                "Something else was changed at the same time; try again.",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                code="unavailable",
                retry_after=1,
            )
        case KubeError(status=HTTPStatus.FORBIDDEN) if not isinstance(error, Invalid):
            return ApiError(error.message, status=HTTPStatus.FORBIDDEN, code="not_admitted")
        case KubeError():
            return ApiError(error.message, code="invalid_request")
        case TransientError(retry_after=float() as wish):
            return unavailable(API_SERVER, retry_after=min(max(1, math.ceil(wish)), _LONGEST_WAIT))
        case _:
            return unavailable(API_SERVER)


def unanswered(error: KubeTuneError) -> ApiError:
    """What a client is told when a question of the gateway's own fails: no client is at fault then."""
    known = isinstance(error, MissingPermission | TransientError)
    return refusal(error) if known else unavailable(API_SERVER)


def lacking(verb: str, resource: str, namespace: str) -> ApiError:
    """The gateway itself may not do what it has to; another try succeeds once it may."""
    where = f" in the namespace {namespace}" if namespace else ""
    return ApiError(
        f"The gateway's own account has no right to {verb} {resource}{where}: "
        "an administrator has to give it this right.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code="gateway_lacks_right",
        retry_after=_UNTIL_GIVEN,
    )
