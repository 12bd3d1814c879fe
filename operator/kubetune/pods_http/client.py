"""The HTTP client towards a job's own pods: what it asks, and what it makes of bad answers."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel
from pydantic_core import from_json

from kubetune_trainer.contract.messages import Progress

from ..facts.canary import Canary
from ..vocabulary.strangers import all_plain, plain

BODY_LIMIT: Final = 64 * 1024
TIMEOUT: Final = 2.0
"""Whoever is asked knows the answer already."""

CONNECT_TIMEOUT: Final = 1.0
"""A Service whose first server is just ready may lose what it is sent; the kernel would wait for minutes."""


_Model = TypeVar("_Model", bound=BaseModel)


class Web(Protocol):
    """What is asked of a pod; tests answer themselves."""

    async def progress(self, url: str) -> Progress | None:
        """Body of /progress; None when there is no usable answer."""
        ...

    async def canary(self, url: str) -> Canary | str:
        """What a server's guard says of it, or why there is no usable answer, or not yet."""
        ...


class _StatusError(ValueError):
    """A redirect counts: a pod sends none, so something else has answered."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")


class HttpWeb:
    """Web over aiohttp; made in a running loop. Pods are reached directly, whatever proxy is set."""

    def __init__(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def progress(self, url: str) -> Progress | None:
        """Body of /progress; None when there is no usable answer."""
        found = await self._told(url, Progress)
        return None if isinstance(found, str) else found

    async def canary(self, url: str) -> Canary | str:
        """What a server's guard says of it, or why there is no usable answer, or not yet."""
        return await self._told(url, Canary)

    async def _told(self, url: str, model: type[_Model]) -> _Model | str:
        """The body at ``url``, or why there is none that can be used."""
        try:
            body = await self._read(url)
        except aiohttp.ConnectionTimeoutError:
            return f"no connection within {CONNECT_TIMEOUT:.0f} s"
        except TimeoutError:
            return f"no answer within {TIMEOUT:.0f} s"
        except aiohttp.ClientConnectorError as error:
            return _words(error.os_error)  # its own text speaks of "ssl:default"
        except (aiohttp.ClientError, ValueError) as error:
            return plain(str(error)) or type(error).__name__
        try:
            return model.model_validate(all_plain(from_json(body)))
        except ValueError:  # something else may say 200 to anything
            return f"it does not tell {urlsplit(url).path}"

    async def _read(self, url: str) -> bytes:
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise _StatusError(response.status)
            body = b""
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise ValueError("the body is too large")
            return body


def _words(error: OSError) -> str:
    """What the system calls it; asyncio's text for a refused connection names no reason."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
