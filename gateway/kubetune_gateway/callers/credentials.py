"""What a request says of who sends it: a token or a key, and a namespace. Pure.

Nothing that a client wrote gets into a path, a key or a header before its form was looked at, and a token
gets into no message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from kubetune.vocabulary.strangers import plain

from ..wire.errors import ApiError

PROJECT: Final = "openai-project"
"""Header by which OpenAI's clients name a project, which is a namespace here."""

LONGEST: Final = 16 * 1024
"""Characters of a token; those of people who are in many groups have thousands."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_NAME: Final = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")
_NAME_LENGTH: Final = 253
_ACCOUNT: Final = "system:serviceaccount:"


def credential(headers: Mapping[str, str]) -> str:
    """The token or key, from ``Authorization: Bearer`` or, as Azure's clients send it, from ``api-key``.

    Raises ApiError where there is none.
    """
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    found = rest.strip() if scheme.lower() == "bearer" else ""
    found = found or headers.get("api-key", "").strip()
    if not found:
        raise unauthorized(
            "The request has no API key. Give the client one as `api_key`: the token of a service account, "
            "which `kubectl create token` makes, or a key that `kubetune-gateway keys create` made."
        )
    if len(found) > LONGEST or not _TOKEN.fullmatch(found):
        raise unauthorized("The API key has characters that no token has, or too many of them.")
    return found


def project(headers: Mapping[str, str]) -> str | None:
    """The namespace that a client names; None where it names none. Raises ApiError where it cannot be one."""
    named = headers.get(PROJECT, "").strip()
    if not named:
        return None
    if not is_label(named):
        raise ApiError(
            f"{plain(named[:80])!r} is no namespace. Give the client as `project` the namespace to work in, "
            "or none: a service account works in its own. OPENAI_PROJECT_ID in the environment counts too.",
            code="invalid_project",
            param="OpenAI-Project",
        )
    return named


def is_label(text: str) -> bool:
    """Whether it can be the name of a namespace."""
    return _LABEL.fullmatch(text) is not None


def is_account_name(text: str) -> bool:
    """Whether it can be the name of a service account."""
    return len(text) <= _NAME_LENGTH and _NAME.fullmatch(text) is not None


def account_user(namespace: str, name: str) -> str:
    """A service account as a user."""
    return f"{_ACCOUNT}{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    """Groups that a service account is in, as the API server has them."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")


def namespace_of(user: str) -> str | None:
    """Namespace of the service account that this user is; None for anybody else."""
    namespace, _, name = user.removeprefix(_ACCOUNT).partition(":")
    return namespace if user.startswith(_ACCOUNT) and name and is_label(namespace) else None


def unauthorized(message: str, code: str = "invalid_api_key") -> ApiError:
    """Nobody knows who calls."""
    return ApiError(message, status=HTTPStatus.UNAUTHORIZED, code=code)
