"""What rank 0 of a training tells of its steps, over HTTP. What answers there is a stranger's."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import aiohttp

from kubetune.vocabulary.json_values import dict_of, dicts_of, int_of, text_of
from kubetune.vocabulary.names import TRAIN, Names

from ..jobs.steps import Step, parse
from .feed import Raw, meta_of

PORT: Final = 9400
"""The trainer's metrics port."""

MOST_LINES: Final = 1000
"""Of one answer; where there are as many, there may be more."""

_MOST_BYTES: Final = 1024 * MOST_LINES
_TIMEOUT: Final = 2.0
"""Whoever is asked knows the answer already."""

Address = Callable[[Raw], str]
"""Base URL of a job's rank 0."""


class Silence(Exception):  # noqa: N818
    """There is no usable answer, which is usual: pods come and go."""


def attempt_of(raw: Raw) -> int | None:
    """Number of the attempt that trains now and has begun; None where none has."""
    status = dict_of(raw.get("status"))
    attempts = dicts_of(status.get("attempts"))
    if text_of(status.get("stage")) != TRAIN or not attempts:
        return None
    last = attempts[-1]
    return int_of(last.get("number")) if last.get("podsReady") and not last.get("completionTime") else None


def address_of(raw: Raw) -> str:
    """Where rank 0 of the last attempt is, by the name that its Service gives its pod."""
    namespace, name, _ = meta_of(raw)
    attempts = dicts_of(dict_of(raw.get("status")).get("attempts"))
    number = int_of(attempts[-1].get("number")) if attempts else 1
    return f"http://{Names(name).rank0_host(number, namespace)}:{PORT}"


class Rank0:
    """Asks; made in a running loop. Pods are reached directly, whatever proxy is set."""

    def __init__(self, address: Address = address_of) -> None:
        self._address = address
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT, sock_connect=_TIMEOUT / 2)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def steps(self, raw: Raw, *, after: int) -> list[Step]:
        """Some of the steps after one, in ascending order. Raises Silence."""
        url = f"{self._address(raw)}/steps"
        try:
            async with self._session.get(url, params={"after": str(after)}, allow_redirects=False) as answer:
                if answer.status != HTTPStatus.OK:
                    raise Silence(f"HTTP {answer.status}")
                body = b""
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise Silence("the answer is too large")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Silence(str(error) or type(error).__name__) from None
        return sorted(parse(body), key=lambda step: step.step)[:MOST_LINES]
