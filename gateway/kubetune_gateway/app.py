"""The ASGI application: OpenAI's paths, Azure's, and errors as their clients understand them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from .contracts import Means
from .routes import azure, chat, files, jobs, models
from .routes.requests import refusal
from .wire.errors import ApiError

OPENAI: Final = (files.router, jobs.router, models.router, chat.router)
AZURE: Final = (azure.router,)
PLACES: Final = (
    ("/v1", OPENAI),
    ("/openai/v1", (*OPENAI, *AZURE)),
    ("/openai", (*OPENAI, *AZURE)),
)
"""Which routes are below which path. Azure's older clients name a version in the query; all get the same."""


def app(means: Means) -> FastAPI:
    """Return the application."""
    made = FastAPI(title="KubeTune", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json")
    made.state.means = means
    for prefix, routers in PLACES:
        for router in routers:
            made.include_router(router, prefix=prefix, include_in_schema=prefix == "/v1")

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
        path = f"{request.method} {request.url.path}"
        return refusal(
            ApiError(f"{path}: {error.detail}", status=HTTPStatus(error.status_code), code="unknown_url")
        )

    return made
