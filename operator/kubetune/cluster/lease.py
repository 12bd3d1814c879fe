"""Holds the Lease, or waits for it: the loop around ``election``. Knows nothing of what is done meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from ..facts.views import Raw
from ..vocabulary.errors import Conflict, KubeTuneError, NotFound, TransientError
from .election import JITTER, REQUEST_LIMIT, RETRY, Observed, Term, claimed, holder, released

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Leases(Protocol):
    """The part of the API server that has the Lease."""

    async def get_lease(self, namespace: str, name: str, *, within: float) -> Raw:
        """Read it, live; NotFound when there is none."""
        ...

    async def put_lease(self, lease: Raw, *, within: float) -> Raw:
        """Replace the version that it names, or make it when it names none; Conflict when it has changed."""
        ...


def new_identity() -> str:
    """A name that no other process has, nor this one after a restart."""
    return f"{socket.gethostname()[:200]}_{uuid.uuid4()}"


class Elector:
    """One of the operators that share a Lease."""

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seed: int | None = None,
    ) -> None:
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._now = now
        self._random = random.Random(seed)
        self._observed = Observed(identity)
        self._lease: Raw | None = None
        """As it was read or written last."""
        self._said: tuple[str, ...] = ()

    async def lead(
        self, act: Callable[[Term], Awaitable[None]], *, on_change: Callable[[bool], None]
    ) -> None:
        """Run ``act`` whenever this operator holds the Lease, for ever; cancel it when the Lease is lost.

        When this is cancelled, ``act`` is cancelled first and may finish what it does while the Lease is
        still renewed; then the Lease is given back. Raises what ``act`` raised.
        """
        while True:
            term = await self._acquire()
            logger.info("Leading", extra=self._extra())
            on_change(True)
            tasks = [asyncio.ensure_future(act(term)), asyncio.create_task(self._keep(term))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                # In a task of its own: until 3.11.3 no timeout ends a task that was cancelled before.
                await asyncio.create_task(self._give_back(term))
                on_change(False)
                logger.info("Not leading any more", extra=self._extra())
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    async def _acquire(self) -> Term:
        """Return when this operator holds the Lease."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._read()
                self._observed.see(self._lease, loop.time())
                if self._observed.free_in(loop.time()) == 0:
                    return Term(await self._claim())
                self._say(logging.INFO, "Waiting for the Lease", holder=self._observed.holder)
            except Conflict:
                pass  # another was faster
            except KubeTuneError as error:
                self._say(logging.WARNING, "The Lease cannot be taken", reason=str(error))
            pause, free = self._pause(), self._observed.free_in(loop.time())
            await asyncio.sleep(min(pause, free) if free else pause)

    async def _keep(self, term: Term) -> None:
        """Renew the Lease; return when it is lost."""
        loop = asyncio.get_running_loop()
        while (left := term.left(loop.time())) > 0:
            await asyncio.sleep(min(self._pause(), left))
            try:
                async with asyncio.timeout(term.left(loop.time())):
                    if not await self._renew(term):
                        break
            except (KubeTuneError, TimeoutError) as error:
                self._say(logging.WARNING, "The Lease cannot be renewed", reason=str(error))
        term.ended = True

    async def _renew(self, term: Term) -> bool:
        """Renew the Lease once; tell whether it is still this operator's."""
        try:
            term.renewed = await self._claim()
        except (Conflict, NotFound):  # it was edited or deleted, or a renewal arrived whose answer did not
            await self._read()
            if holder(self._lease) not in ("", self._identity):
                return False
            term.renewed = await self._claim()
        return True

    async def _give_back(self, term: Term) -> None:
        """Let the next one take the Lease at once. From here on nothing is written."""
        held = term.left(asyncio.get_running_loop().time()) > 0
        term.ended = True
        if not held:
            return
        try:
            await self._read()  # a renewal may have been under way
            if self._lease is not None and holder(self._lease) == self._identity:
                await self._put(released(self._lease, self._now()))
        except KubeTuneError as error:
            self._say(logging.WARNING, "The Lease cannot be given back", reason=str(error))

    async def _read(self) -> None:
        try:
            self._lease = await _bounded(
                self._leases.get_lease(self._namespace, self._name, within=REQUEST_LIMIT)
            )
        except NotFound:
            self._lease = None

    async def _claim(self) -> float:
        """Take or renew the Lease; return when that was sent."""
        sent = asyncio.get_running_loop().time()
        await self._put(claimed(self._lease, self._identity, self._now()))
        return sent

    async def _put(self, spec: dict[str, Any]) -> None:
        known: Raw = self._lease or {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._namespace, "name": self._name},
        }
        self._lease = await _bounded(self._leases.put_lease({**known, "spec": spec}, within=REQUEST_LIMIT))
        self._said = ()

    def _pause(self) -> float:
        return RETRY * self._random.uniform(1 - JITTER, 1 + JITTER)

    def _say(self, level: int, message: str, **extra: str) -> None:
        """Log what is new: a contender looks every two seconds, and an outage lasts."""
        said = (message, *extra.values())
        if said != self._said:
            logger.log(level, message, extra={**self._extra(), **extra})
        self._said = said

    def _extra(self) -> dict[str, str]:
        return {"namespace": self._namespace, "lease": self._name, "identity": self._identity}


async def _bounded(request: Awaitable[T]) -> T:
    """What a request answers, in time or not at all."""
    try:
        async with asyncio.timeout(REQUEST_LIMIT):
            return await request
    except TimeoutError:
        raise TransientError(f"the API server has not answered for {REQUEST_LIMIT:.0f} s") from None
