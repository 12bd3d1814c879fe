"""The HTTP client towards a job's own pods: what it asks, and what it makes of bad answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from kubetune_trainer.contract.messages import Progress

from ..facts.canary import Canary

BODY_LIMIT: Final = 64 * 1024
PROGRESS_TIMEOUT: Final = 2.0
ANSWER_TIMEOUT: Final = 30.0
"""A model on CPU takes its time for the first token."""

CONNECT_TIMEOUT: Final = 1.0
"""A Service whose first server is just ready may lose what it is sent; the kernel would wait for minutes."""


_Model = TypeVar("_Model", bound=BaseModel)


class Web(Protocol):
    """What is asked of a pod; tests answer themselves."""

    async def progress(self, url: str) -> Progress | None:
        """Body of /progress; None when there is no usable answer."""
        ...

    async def complete(self, base_url: str, model: str) -> str | None:
        """Complete one token under this model name; None when that worked, else why not."""
        ...

    async def canary(self, url: str) -> Canary | None:
        """What a server's guard says of it; None when there is no usable answer, or not yet."""
        ...


class _Completion(BaseModel):
    """What counts of an answer: something else behind the Service may say 200 to anything."""

    choices: list[dict[str, Any]] = Field(min_length=1)


class _StatusError(ValueError):
    """A redirect counts: a pod sends none, so something else has answered."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")


class HttpWeb:
    """Web over aiohttp; made in a running loop. Pods are reached directly, whatever proxy is set."""

    def __init__(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT, sock_connect=CONNECT_TIMEOUT)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def progress(self, url: str) -> Progress | None:
        """Body of /progress; None when there is no usable answer."""
        return await self._told(url, Progress)

    async def canary(self, url: str) -> Canary | None:
        """What a server's guard says of it; None when there is no usable answer, or not yet."""
        return await self._told(url, Canary)

    async def complete(self, base_url: str, model: str) -> str | None:
        """Complete one token under this model name; None when that worked, else why not."""
        question = {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        try:
            _Completion.model_validate_json(
                await self._read("POST", f"{base_url}/completions", json=question)
            )
        except aiohttp.ConnectionTimeoutError:
            return f"no connection within {CONNECT_TIMEOUT:.0f} s"
        except TimeoutError:
            return f"no answer within {ANSWER_TIMEOUT:.0f} s"
        except aiohttp.ClientConnectorError as error:
            return _words(error.os_error)  # its own text speaks of "ssl:default"
        except ValidationError:
            return "answered without a completion"
        except (aiohttp.ClientError, ValueError) as error:
            return str(error) or type(error).__name__
        return None

    async def _told(self, url: str, model: type[_Model]) -> _Model | None:
        try:
            async with asyncio.timeout(PROGRESS_TIMEOUT):
                return model.model_validate_json(await self._read("GET", url))
        except (aiohttp.ClientError, TimeoutError, ValidationError, ValueError):
            return None

    async def _read(self, method: str, url: str, *, json: Mapping[str, Any] | None = None) -> bytes:
        async with self._session.request(method, url, json=json, allow_redirects=False) as response:
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
