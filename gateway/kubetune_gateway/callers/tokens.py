"""Whose a bearer token is, by TokenReview: the API server alone knows. No token is kept, logged or told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from kubetune.cluster.kube.errors import Target
from kubetune.vocabulary.errors import KubeTuneError
from kubetune.vocabulary.json_values import dict_of, text_of, texts_of

from ..kube.api_server import ApiServer, path_of
from ..kube.refusals import unanswered
from .recent import No, Recent

logger = logging.getLogger(__name__)

_TARGET: Final = Target(verb="create", kind="tokenreviews.authentication.k8s.io", namespace="", name="")
_PATH: Final = path_of("tokenreviews", group="authentication.k8s.io", version="v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Whom the API server knows."""

    name: str
    uid: str | None = None
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] | None = None


class Tokens:
    """Tokens that the API server accepts; ``audiences``: only those made for one of them."""

    def __init__(self, api: ApiServer, *, audiences: Sequence[str] = ()) -> None:
        self._api = api
        self._audiences = tuple(audiences)
        self._recent: Recent[User] = Recent()

    async def user(self, token: str) -> User:
        """Whose it is. Raises ApiError with 401 when the API server does not know."""
        return await self._recent.get(token, lambda: self._review(token))

    async def _review(self, token: str) -> User | No:
        spec = {"token": token} | ({"audiences": list(self._audiences)} if self._audiences else {})
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            answer = await self._api.send("POST", _PATH, _TARGET, body=review, repeatable=True)
        except KubeTuneError as error:
            # Whatever it says, something in between may have said it, and of a body with a token.
            logger.warning("No review of a token", extra={"reason": type(error).__name__})
            raise unanswered(error) from None
        return verdict(dict_of(answer.get("status")), self._audiences)


def verdict(status: Mapping[str, Any], audiences: Sequence[str]) -> User | No:
    """What a TokenReview says. Pure."""
    user = dict_of(status.get("user"))
    name = text_of(user.get("username"))
    if status.get("authenticated") is not True or not name:
        return _no(text_of(status.get("error")), audiences)
    # An API server that knows no audiences answers without them: then the token may be meant for anybody.
    if audiences and not set(audiences) & set(texts_of(status.get("audiences"))):
        return _no("audiences", audiences)
    extra = {key: texts_of(values) for key, values in dict_of(user.get("extra")).items()}
    return User(
        name=name,
        uid=text_of(user.get("uid")) or None,
        groups=tuple(texts_of(user.get("groups"))),
        extra=extra or None,
    )


def _no(error: str, audiences: Sequence[str]) -> No:
    """Why not, as far as it helps; the API server's own words may hold parts of the token."""
    if "expired" in error:
        why = "The token has expired: make another one."
    elif audiences and "audience" in error:
        why = f"The token was not made for this service: make one with the audience {audiences[0]}."
    else:
        why = (
            "Incorrect API key provided: it is no token that Kubernetes knows. `kubectl create token` makes "
            "one for a service account."
        )
    return No(HTTPStatus.UNAUTHORIZED, "invalid_api_key", why)
