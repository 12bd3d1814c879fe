"""Errors as OpenAI's clients understand them. Pure.

Clients try again after 408, 409, 429 and 5xx, twice by default: what another try does not change is another
4xx. Nothing here answers 409.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """A request that is not done, and why.

    ``param`` names the field that is at fault, ``code`` is for programs, ``message`` says what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after
        """Seconds, where another try may succeed."""

    def body(self) -> dict[str, Any]:
        """The envelope."""
        kind = "invalid_request_error"
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = "requests"
        elif self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = "server_error"
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code},
        }


def not_found(what: str, id_: str) -> ApiError:
    """No such thing, or none that the caller may see: both look alike."""
    return ApiError(f"No such {what}: {id_}", status=HTTPStatus.NOT_FOUND, code="not_found", param="id")


def too_large(limit: int) -> ApiError:
    """A file of more bytes than one request may have."""
    return ApiError(
        f"The file is larger than {limit} bytes: upload it in parts with /v1/uploads, or split it.",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code="file_too_large",
        param="file",
    )


def unavailable(what: str, *, retry_after: int = 5) -> ApiError:
    """Something that is needed does not answer; nothing was done."""
    return ApiError(
        f"{what} does not answer now; try again.",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code="unavailable",
        retry_after=retry_after,
    )
