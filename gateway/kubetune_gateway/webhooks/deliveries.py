"""Delivers webhooks at least once: a marker in S3 says that a receiver has taken one.

What is owed follows from when jobs have ended, and is told anew after a restart. So does the pause before
another try: as long as it has been owed, from seconds to an hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from ..ids import job_id, webhook_id
from ..store.bucket import Bucket
from ..store.places import Places
from ..telemetry import Telemetry
from ..wire.errors import ApiError
from ..wire.jobs import Status
from .endpoint import CANCELLED, FAILED, SUCCEEDED, Endpoint, EventType
from .message import body, headers

logger = logging.getLogger(__name__)

OWED_FOR: Final = 24 * 3600
"""Seconds after a job's end in which it is told."""

TYPES: Final[Mapping[Status, EventType]] = {
    "succeeded": SUCCEEDED,
    "failed": FAILED,
    "cancelled": CANCELLED,
}

_TIMEOUT: Final = 10.0
_AT_ONCE: Final = 4
"""Deliveries to one receiver at a time."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between two tries."""

    least: float = 5.0
    most: float = 3600.0

    def after(self, age: float) -> float:
        """Before the next try of what has been owed for so long."""
        return min(self.most, max(self.least, age))


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """One receiver that waits to be told of one end of a job."""

    endpoint: Endpoint
    uid: str
    type: EventType
    since: int
    """When the job ended, in Unix seconds."""

    @property
    def id(self) -> str:
        """Of the event: a receiver that is told twice knows it by this."""
        return webhook_id(self.uid, self.type)


class Deliveries:
    """Webhooks of all namespaces; for one process at a time."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        bucket: Bucket,
        places: Places,
        telemetry: Telemetry,
        *,
        now: Callable[[], datetime],
        pauses: Pauses | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._bucket = bucket
        self._places = places
        self._telemetry = telemetry
        self._now = now
        self._pauses = pauses or Pauses()
        self._limits = {endpoint: asyncio.Semaphore(_AT_ONCE) for endpoint in endpoints}
        self._queue: asyncio.Queue[Debt] = asyncio.Queue()
        self._known: set[Debt] = set()

    def owe(self, namespace: str, uid: str, ended_at: Mapping[Status, int]) -> None:
        """Have a job's ends told, unless they are too long ago, or were told."""
        for endpoint in self._endpoints:
            for status, since in ended_at.items():
                debt = Debt(endpoint=endpoint, uid=uid, type=TYPES[status], since=since)
                wanted = endpoint.namespace == namespace and debt.type in endpoint.events
                if wanted and self._age(debt) < OWED_FOR and debt not in self._known:
                    self._known = {debt} | {one for one in self._known if self._age(one) < OWED_FOR}
                    self._queue.put_nowait(debt)

    async def run(self) -> None:
        """Deliver what is owed, for ever."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with (
                # A platform may have a proxy for what is outside.
                aiohttp.ClientSession(
                    timeout=timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                asyncio.TaskGroup() as tasks,
            ):
                while True:
                    tasks.create_task(self._pay(session, await self._queue.get()))
        finally:
            # Another process may deliver now; should it be this one again, it is told anew.
            self._known.clear()
            self._queue = asyncio.Queue()

    async def _pay(self, session: aiohttp.ClientSession, debt: Debt) -> None:
        """Tell one receiver, until it has taken it or a day has passed."""
        taken = False
        while (age := self._age(debt)) < OWED_FOR:
            try:
                if taken or not await self._is_marked(debt):
                    async with self._limits[debt.endpoint]:
                        taken = taken or await self._deliver(session, debt)
                    if taken:
                        await self._bucket.put_once(self._marker(debt), b"")
                else:
                    taken = True
                if taken:
                    return
            except ApiError as error:
                logger.warning("A webhook waits for S3", extra={"reason": str(error), "webhook": debt.id})
            await asyncio.sleep(self._pauses.after(age))
        self._tell(debt, "given_up", logging.ERROR)

    async def _deliver(self, session: aiohttp.ClientSession, debt: Debt) -> bool:
        """Send one, and tell whether it was taken. What the receiver writes is not read."""
        payload = body(debt.id, debt.type, job=job_id(debt.uid), created_at=debt.since)
        sent = headers(debt.id, payload, debt.endpoint.secrets, now=int(self._now().timestamp()))
        try:
            async with session.post(
                debt.endpoint.url, data=payload, headers=sent, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._tell(debt, "failed", logging.WARNING, str(error) or type(error).__name__)
            return False
        taken = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        if taken:
            self._tell(debt, "delivered", logging.INFO)
        else:
            self._tell(debt, "failed", logging.WARNING, f"HTTP {status}")
        return taken

    async def _is_marked(self, debt: Debt) -> bool:
        return await self._bucket.get(self._marker(debt)) is not None

    def _marker(self, debt: Debt) -> str:
        folder = self._places.job_webhooks(debt.endpoint.namespace, debt.uid)
        return f"{folder}{debt.id}-{debt.endpoint.digest}"

    def _age(self, debt: Debt) -> float:
        return self._now().timestamp() - debt.since

    def _tell(self, debt: Debt, outcome: str, level: int, reason: str = "") -> None:
        self._telemetry.webhooks.labels(outcome).inc()
        extra = {"webhook": debt.id, "namespace": debt.endpoint.namespace, "outcome": outcome}
        logger.log(level, "A webhook was sent", extra=extra | ({"reason": reason} if reason else {}))
