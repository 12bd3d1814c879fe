"""One look at one job: cancelled ones are deleted, steps and the record kept, its end told.

Any part may be done twice, or by two at once: what is written follows from what there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from ..archive.store import Archive
from ..contracts import Jobs
from ..files.store import FileStore
from ..ids import results_id
from ..jobs.steps import table, total_steps
from ..webhooks.deliveries import Deliveries
from ..wire.jobs import ENDED
from .feed import Raw, is_going, meta_of
from .measured import Measured
from .next_record import next_record, outline

RESULTS: Final = "step_metrics.csv"
"""Name of the file with what was measured, as OpenAI has it."""


@dataclass(slots=True, kw_only=True)
class Settler:
    """Looks at jobs, each time as if for the first time, but that it knows which have not changed."""

    jobs: Jobs
    archive: Archive
    files: FileStore
    measured: Measured
    deliveries: Deliveries
    now: Callable[[], datetime]
    _seen: dict[str, str] = field(default_factory=dict)
    """Outlines of jobs that are there and were settled, by their uid."""

    async def settle(self, raw: Raw, *, is_gone: bool, is_cancelled: bool = False) -> None:
        """Bring what is kept up to date with a FineTuneJob, or with its last state if it is gone.

        ``is_cancelled``: a client has cancelled it, which its FineTuneJob may not tell.

        Raises ApiError where S3 or the API server is away: then it is to be done again.
        """
        namespace, name, uid = meta_of(raw)
        shape = outline(raw)
        if not is_gone and not is_cancelled and self._seen.get(uid) == shape:
            return
        kept = await self.archive.get(namespace, uid)
        now = self.now()
        record, told = next_record(kept, raw, is_gone=is_gone, now=int(now.timestamp()))
        if told.status in ENDED:
            if is_gone:
                await self.measured.read(raw)  # its pods may be there for a moment
            await self.measured.finish(raw)
            ended_at = datetime.fromtimestamp(record.ended_at[told.status], UTC)
            results = await self._results(raw, record.results, ended_at)
            record = record.model_copy(update={"results": results})
        if kept is None or record != kept.record:
            await self.archive.put(namespace, uid, record)
        self.deliveries.owe(namespace, uid, record.ended_at)
        if kept is not None and kept.cancelled is not None and not is_gone and not is_going(raw):
            await self.jobs.delete(namespace, name, uid=uid)
        if is_gone:
            self._seen.pop(uid, None)
        else:
            self._seen[uid] = shape

    async def _results(self, raw: Raw, before: str | None, ended_at: datetime) -> str | None:
        """Make the result file unless the same was made before; return its digest, or None without steps."""
        namespace, _, uid = meta_of(raw)
        steps = await self.archive.steps(namespace, uid, total=total_steps(raw))
        if not steps:
            return before
        content = table(steps)
        digest = hashlib.sha256(content).hexdigest()
        if digest != before:
            await self.files.put(
                namespace,
                results_id(uid),
                _once(content),
                name=RESULTS,
                purpose="fine-tune-results",
                now=ended_at,
            )
        return digest


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
