"""The ASGI application: OpenAI's paths, Azure's, and errors as their clients understand them."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from .contracts import Means
from .limits.middleware import Limited
from .routes import azure, chat, completions, files, jobs, models, uploads
from .routes.document import document
from .routes.measured import Measured
from .routes.requests import refusal
from .wire.errors import ApiError

OPENAI: Final = (
    files.router,
    uploads.router,
    jobs.router,
    models.router,
    chat.router,
    completions.router,
)
AZURE: Final = (azure.router,)
PLACES: Final = (
    ("/v1", OPENAI),
    ("/openai/v1", (*OPENAI, *AZURE)),
    ("/openai", (*OPENAI, *AZURE)),
)
"""Which routes are below which path. Azure's older clients name a version in the query; all get the same."""


def app(means: Means) -> FastAPI:
    """Return the application."""
    made = FastAPI(
        title="KubeTune",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,  # to where the Host of a request says
    )
    made.state.means = means
    for prefix, routers in PLACES:
        for router in routers:
            made.include_router(router, prefix=prefix, include_in_schema=prefix == "/v1")
    made.openapi = partial(document, made)  # type: ignore[method-assign]
    made.add_middleware(Limited, limits=means.limits, telemetry=means.telemetry)
    made.add_middleware(Measured, telemetry=means.telemetry)  # around the limits: what they refuse counts

    @made.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return refusal(error)

    @made.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        [first, *_] = error.errors()
        name = str(first["loc"][-1])
        return refusal(ApiError(f"{name}: {first['msg']}", code="invalid_value", param=name))

    @made.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        wrong_method = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
        answer = refusal(
            ApiError(
                f"{request.method} {request.url.path}: {error.detail}",
                status=HTTPStatus(error.status_code),
                code="method_not_allowed" if wrong_method else "unknown_url",
            )
        )
        answer.headers.update(error.headers or {})
        if wrong_method:  # Starlette tells those of one route, and a path has several
            answer.headers["Allow"] = ", ".join(_methods(made, request))
        return answer

    @made.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return refusal(ApiError("The body did not come to its end.", status=HTTPStatus.REQUEST_TIMEOUT))

    @made.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return refusal(
            ApiError(
                "Something went wrong here; try again.",
                status=HTTPStatus.INTERNAL_SERVER_ERROR,
                code="internal_error",
            )
        )

    return made


def _methods(made: FastAPI, request: Request) -> list[str]:
    """Methods that there are of a path."""
    return [
        method
        for method in ("DELETE", "GET", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in made.routes)
    ]
