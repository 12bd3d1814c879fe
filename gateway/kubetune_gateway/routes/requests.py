"""What the routes read of a request, and how they refuse one."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from ..contracts import Caller, Means, Resource, Verb
from ..wire.errors import ApiError

_Body = TypeVar("_Body", bound=BaseModel)

_LONGEST_PATH = 256
"""Of a field that is named in an error: keys are as long as clients like."""


def means_of(request: Request) -> Means:
    """What the app was made with."""
    means: Means = request.app.state.means
    return means


async def caller_of(request: Request) -> Caller:
    """Who calls."""
    caller = await means_of(request).callers.identify(request.headers)
    request.state.caller = caller  # for the log
    return caller


Needs = Annotated[Means, Depends(means_of)]


def may(verb: Verb, resource: Resource) -> Dependency:
    """Dependency of a route: who calls, once Kubernetes has said that they may."""

    async def allowed(request: Request) -> Caller:
        caller = await caller_of(request)
        await means_of(request).access.require(caller, verb, resource)
        return caller

    return Depends(allowed)  # type: ignore[no-any-return]


async def json_body(request: Request, model: type[_Body]) -> _Body:
    """The body of a request, which is JSON in UTF-8. Raises ApiError for all else, by the field."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise wrong_field(error) from None


def metadata_asked_for(request: Request) -> dict[str, str] | None:
    """Pairs that a list is asked for by `metadata[key]=value`; None where it is for none."""
    pairs = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    return pairs or None


def refusal(error: ApiError) -> JSONResponse:
    """An error as clients understand it."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="kubetune"'
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


def wrong_field(error: ValidationError) -> ApiError:
    """The first field that is wrong, by its path, and all that is said of it."""
    said: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        said.setdefault(_path(problem["loc"]), []).append(problem["msg"])
    path, messages = next(iter(said.items()))
    path = path[:_LONGEST_PATH]
    return ApiError(f"{path or 'body'}: {', or: '.join(messages)}", code="invalid_value", param=path or None)


def _path(parts: Iterable[int | str]) -> str:
    """Names of fields; pydantic adds which kind of a value it had tried."""
    return ".".join(str(part) for part in parts if isinstance(part, int) or part.isidentifier())
