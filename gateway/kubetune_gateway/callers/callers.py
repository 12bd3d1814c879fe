"""Who sends a request, and in which namespace they act: by an API key, or by a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from ..wire.errors import ApiError
from .accounts import Accounts
from .caller import Caller
from .credentials import account_groups, account_user, credential, namespace_of, project, unauthorized
from .keys import PREFIX, ApiKey, KeyStore, is_key
from .recent import No, Recent
from .tokens import Tokens

_OPENAI: Final = "sk-"
"""How keys of OpenAI and of others like it begin: they are nobody's business here, and sent nowhere."""

_CLOCKS: Final = timedelta(minutes=5)
"""By which the clock that dated a key may be behind that of the API server."""

_UNKNOWN: Final = No(
    HTTPStatus.UNAUTHORIZED,
    "invalid_api_key",
    "Incorrect API key provided: it is not known here, or it was revoked.",
)


class KubeCallers:
    """Everybody whom the API server knows; with ``keys``, also whoever has an API key."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        keys: KeyStore | None = None,
        accounts: Accounts,
        namespaces: Sequence[str] = (),
        now: Callable[[], datetime],
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._accounts = accounts
        self._namespaces = frozenset(namespaces)
        self._now = now
        self._recent: Recent[ApiKey] = Recent()

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """Return who sends these headers (in small letters). Raises ApiError when nobody knows."""
        secret = credential(headers)
        caller = await (self._by_key if secret.startswith(_OPENAI) else self._by_token)(secret, headers)
        if self._namespaces and caller.namespace not in self._namespaces:
            raise ApiError(
                f"The namespace {caller.namespace} is not served here: an administrator can add it to those "
                "that are watched.",
                status=HTTPStatus.FORBIDDEN,
                code="namespace_not_served",
            )
        return caller

    async def _by_token(self, token: str, headers: Mapping[str, str]) -> Caller:
        named = project(headers)
        user = await self._tokens.user(token)
        namespace = named or namespace_of(user.name)
        if namespace is None:
            raise ApiError(
                "Say in which namespace to work: give the client its name as `project` (the header "
                "OpenAI-Project). Only service accounts have a namespace of their own.",
                code="project_required",
                param="OpenAI-Project",
            )
        # Whether they may act in a namespace that they name is asked of Kubernetes, as for their own.
        return Caller(user=user.name, groups=user.groups, uid=user.uid, extra=user.extra, namespace=namespace)

    async def _by_key(self, secret: str, headers: Mapping[str, str]) -> Caller:
        if not secret.startswith(PREFIX):
            raise unauthorized(
                "This is a key of another service. Here it is the token of a service account, as `kubectl "
                "create token` makes it, or a key that begins with sk-kt-."
            )
        if self._keys is None:
            raise unauthorized("API keys are not enabled here: use the token of a service account.")
        if not is_key(secret):
            raise _UNKNOWN.error()
        key = await self._recent.get(secret, lambda: self._find(secret))
        if key.has_expired(self._now()):
            raise unauthorized("This API key has expired: ask for another one.", "api_key_expired")
        made = await self._accounts.made_at(key.namespace, key.service_account)
        if made.timestamp() > key.created_at + _CLOCKS.total_seconds():
            raise unauthorized(
                f"The service account {key.service_account} was made anew after this key: ask for another."
            )
        if project(headers) not in (None, key.namespace):
            raise ApiError(
                f"This API key is for the namespace {key.namespace}: leave `project` out, or use a key of "
                "the namespace that it names.",
                status=HTTPStatus.FORBIDDEN,
                code="key_of_another_namespace",
                param="OpenAI-Project",
            )
        return Caller(
            user=account_user(key.namespace, key.service_account),
            groups=account_groups(key.namespace),
            namespace=key.namespace,
        )

    async def _find(self, secret: str) -> ApiKey | No:
        assert self._keys
        return await self._keys.find(secret) or _UNKNOWN
