"""Tells in a job's status what keeps failing: a look that raises writes none by itself.

A failure is told when it has lasted for a while, or is there to stay; the look that succeeds next replaces
what was told. What was raised still reaches the queue, which decides when to try again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from ..cluster.index import Index
from ..decide.failures import failed_status, failure_of
from ..facts.views import Key
from ..vocabulary.errors import Rejected
from .job_state import JobState, Trouble
from .owner import Vanished
from .status_writer import Publisher

logger = logging.getLogger(__name__)


class Failures:
    """Remembers since when a job's looks fail, and says so."""

    def __init__(self, index: Index, publisher: Publisher, now: Callable[[], datetime]) -> None:
        self._index = index
        self._publisher = publisher
        self._now = now

    async def tell(self, key: Key, state: JobState, error: Exception, *, begun: float) -> None:
        """Take the failure of a look that began then. Raises Vanished, and nothing else."""
        trouble = state.trouble = state.trouble or Trouble(since=begun)
        if not trouble.is_due(error, asyncio.get_running_loop().time()):
            return
        try:
            await self._tell(key, state, trouble, error)
        except Vanished:
            raise
        except Exception:
            logger.exception("A failure could not be told", extra=_extra(key))

    async def _tell(self, key: Key, state: JobState, trouble: Trouble, error: Exception) -> None:
        raw = self._index.parent(key)
        if raw is None:
            return
        finding = failure_of(error)
        known = state.seen if state.seen is not None else raw.get("status") or {}
        generation = raw["metadata"].get("generation", 0)
        status = failed_status(known, finding, generation=generation, now=self._now())
        reason = str(error)
        if state.unwritten is not error or isinstance(error, Rejected):  # what is refused may be too much
            try:
                await self._publisher.publish(key, raw, status, state)
            except Vanished:
                raise
            except Exception as untold:
                reason = f"{reason}; {untold}"
            else:
                return
        if trouble.announced != finding.reason:
            trouble.announced = finding.reason
            logger.warning("The status cannot be written", extra={**_extra(key), "reason": reason})
            self._publisher.announce(key, raw, status)


def _extra(key: Key) -> dict[str, object]:
    return {"namespace": key.namespace, "job": key.name}
