"""How the API server is reached: configuration, TLS, tokens and HTTP sessions, for our client and for kopf.

Uses ``kubernetes.aio`` for all of it, but none of its generated API classes: those cost 107 MiB and 1.3 s.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import incluster_config, kube_config

KUBECONFIG = "KUBETUNE_KUBECONFIG"


async def load_configuration(environ: Mapping[str, str] = os.environ) -> Configuration:
    """KUBETUNE_KUBECONFIG when it is set, else the pod's service account, else KUBECONFIG (development)."""
    configuration = Configuration()
    path = environ.get(KUBECONFIG)
    if path is None and incluster_config.SERVICE_HOST_ENV_NAME in environ:
        incluster_config.load_incluster_config(configuration)
    else:
        path = path or environ.get("KUBECONFIG")
        await kube_config.load_kube_config(config_file=path, client_configuration=configuration)
    return configuration


def new_session(configuration: Configuration) -> aiohttp.ClientSession:
    """Return a session with its own pool, which asks for a fresh token before each request."""

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            # Files often end in a newline, which no header may hold.
            request.headers[aiohttp.hdrs.AUTHORIZATION] = token.strip()
        elif configuration.username and configuration.password:
            request.headers[aiohttp.hdrs.AUTHORIZATION] = configuration.get_basic_auth_token() or ""
        return await handler(request)

    rest = RESTClientObject(configuration)
    connector = aiohttp.TCPConnector(
        limit=0,  # bounded by our workers, not by the pool
        keepalive_timeout=75,  # a relist comes every 60 s, and a new TLS connection costs more than a request
        ssl=rest.ssl_context,
        socket_factory=_new_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        middlewares=(authenticate,),
        proxy=configuration.proxy or _environment_proxy(configuration.host),
        trust_env=False,  # reads netrc in a thread, twice a request: more than half of what one costs
        read_bufsize=2**21,  # one event can be larger than aiohttp's own buffer
        raise_for_status=False,
    )


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that sends nothing more once it is closed.

    The kernel would go on to send what was given up, for minutes, and a write could arrive after all.
    """
    family, kind, protocol, *_ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return made


def _environment_proxy(server: str) -> str | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for the API server, read once."""
    url = urlsplit(server)
    if proxy_bypass(url.hostname or ""):
        return None
    return getproxies().get(url.scheme)
