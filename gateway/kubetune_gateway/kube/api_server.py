"""Requests to the API server: one pool of connections, and one place for errors.

They are those of ``kubetune.vocabulary.errors``; ``refusals`` makes answers to clients of them.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from pydantic_core import to_json

from kubetune.cluster.kube.answers import decode
from kubetune.cluster.kube.connection import new_session
from kubetune.cluster.kube.errors import Target, from_failure, from_response
from kubetune.vocabulary.errors import KubeTuneError, MissingPermission, TransientError
from kubetune.vocabulary.json_values import dict_of, int_of, text_of
from kubetune.vocabulary.strangers import plain

from ..telemetry import Telemetry

logger = logging.getLogger(__name__)

FIELD_MANAGER: Final = "kubetune-gateway"
MERGE_PATCH: Final = "application/merge-patch+json"
SECONDS: Final = 20.0
"""Of one request: a client waits for several."""

_CONNECT_SECONDS: Final = 5.0
_JSON: Final = "application/json"


class ApiServer:
    """The API server, as the gateway's own account. It is made inside a running loop."""

    def __init__(self, configuration: Configuration, telemetry: Telemetry) -> None:
        self._host = configuration.host
        self._tls_server_name = configuration.tls_server_name
        self._session = new_session(configuration)
        self._failures = telemetry.outages.labels("api_server")

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        target: Target,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = _JSON,
        within: float = SECONDS,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """Send a request, and return the object that answers it.

        ``repeatable`` says that a POST changes nothing, so that it is sent again over a new connection when
        an idle one turns out to be closed, as aiohttp does with GET.
        """
        timeout = aiohttp.ClientTimeout(total=within, sock_connect=_CONNECT_SECONDS)
        try:
            while True:
                try:
                    async with self._session.request(
                        method,
                        self._url(path, query),
                        data=None if body is None else to_json(body),
                        headers=_headers(content),
                        timeout=timeout,
                        server_hostname=self._tls_server_name,
                    ) as response:
                        payload = await response.read()
                    break
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    if not repeatable:
                        raise
                    repeatable = False
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failures.inc()
            raise from_failure(target, error) from error
        if not 200 <= response.status <= 299:
            raise self._refused(target, response, payload)
        return dict(decode(target, payload))

    async def watch(
        self, path: str, target: Target, *, since: int, seconds: int, silence: float
    ) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """Types and objects of all events after a version, bookmarks too.

        It ends when the API server ends it, after ``seconds``, and says something right before. Raises
        KubeTuneError for any other end: the version is too old, nothing comes for ``silence`` seconds.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(since),
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence)
        try:
            async with self._session.get(
                self._url(path, query),
                headers=_headers(_JSON),
                timeout=timeout,
                server_hostname=self._tls_server_name,
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refused(target, response, await response.read())
                while line := await response.content.readline():
                    event = decode(target, line)
                    kind, raw = text_of(event.get("type")), dict_of(event.get("object"))
                    if kind == "ERROR":
                        raise _error_of(target, raw)
                    yield kind, raw
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._failures.inc()
            raise from_failure(target, error) from error

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._host}{path}?{urlencode(query)}" if query else f"{self._host}{path}"

    def _refused(self, target: Target, response: aiohttp.ClientResponse, payload: bytes) -> KubeTuneError:
        error = from_response(target, response.status, response.headers, payload)
        if isinstance(error, TransientError):
            self._failures.inc()
        if isinstance(error, MissingPermission):
            logger.error(
                "The gateway's account lacks a right",
                extra={"verb": target.verb, "resource": target.kind, "namespace": target.namespace},
            )
        return error


def path_of(
    plural: str, *, group: str, version: str, namespace: str | None = None, name: str | None = None
) -> str:
    """Path of a collection or an object; namespace None: of all of them, or of what is in none."""
    parts = ["apis", group, version] if group else ["api", version]
    parts += [] if namespace is None else ["namespaces", namespace]
    parts += [plural] if name is None else [plural, name]
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _headers(content: str) -> dict[str, str]:
    return {"Accept": _JSON, "Content-Type": content, "User-Agent": FIELD_MANAGER}


def _error_of(target: Target, status: Mapping[str, Any]) -> TransientError:
    return TransientError(f"{target}: {int_of(status.get('code'))} {plain(text_of(status.get('message')))}")
