"""Looks for what no change tells of: jobs that went while nobody looked, cancelled ones that are there."""

from __future__ import annotations

import logging

from ..archive.store import Archive, Summary
from ..contracts import Jobs
from ..webhooks.deliveries import Deliveries
from ..wire.errors import ApiError
from .feed import is_going
from .following import Following

logger = logging.getLogger(__name__)


class Sweep:
    """Looks for what no change tells of, in all that is kept."""

    def __init__(self, archive: Archive, jobs: Jobs, deliveries: Deliveries, following: Following) -> None:
        self._archive = archive
        self._jobs = jobs
        self._deliveries = deliveries
        self._following = following
        self._done: set[str] = set()
        """Jobs that are gone and kept: nothing changes there any more."""

    async def look(self) -> None:
        """Look once. Raises ApiError where S3 is away."""
        for namespace in await self._archive.namespaces():
            for uid, one in (await self._archive.listed(namespace, but=self._done)).items():
                try:
                    await self._look(namespace, uid, one)
                except ApiError as error:
                    # This namespace may be one that nobody may look at any more: others are.
                    extra = {"namespace": namespace, "reason": error.message}
                    logger.warning("What is kept of a namespace is looked at later", extra=extra)
                    break

    async def _look(self, namespace: str, uid: str, one: Summary) -> None:
        live = self._following.live.get(uid)
        if live is not None:
            if one.beside.cancelled_at is not None and not is_going(live):
                self._following.found(live, is_cancelled=True)
        elif one.is_complete:
            self._deliveries.owe(namespace, uid, one.ended_at)
            self._done.add(uid)
        elif await self._jobs.get(namespace, uid) is None:
            kept = await self._archive.get(namespace, uid)
            if kept is not None:
                self._following.gone(kept.raw)
