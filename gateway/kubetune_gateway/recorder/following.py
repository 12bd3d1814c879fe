"""Follows jobs: a change is a look at one, and one that fails is done again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Final

from ..wire.errors import ApiError
from .feed import Change, Raw, meta_of
from .settle import Settler

logger = logging.getLogger(__name__)

_LONGEST_PAUSE: Final = 300.0
"""Seconds until something is done again that cannot be done now."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A look that is wanted at a job."""

    raw: Raw
    is_gone: bool = False
    is_cancelled: bool = False
    """A client has cancelled it, which its FineTuneJob may not tell."""
    failures: int = 0


class Following:
    """Jobs as they are, and which are to be looked at: each by one worker at a time."""

    def __init__(self, settler: Settler, again: float) -> None:
        self.live: dict[str, Raw] = {}
        self._settler = settler
        self._again_after = again
        self._waiting: dict[str, _Look] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._busy: set[str] = set()

    def heard(self, change: Change, raw: Raw) -> None:
        """Take a change."""
        if change == "DELETED":
            self.gone(raw)
        else:
            self.found(raw)

    def found(self, raw: Raw, *, is_cancelled: bool = False) -> None:
        """Look at a job that is there."""
        _, _, uid = meta_of(raw)
        self.live[uid] = raw
        self._add(uid, _Look(raw, is_cancelled=is_cancelled))

    def gone(self, raw: Raw) -> None:
        """Look at a job for the last time."""
        _, _, uid = meta_of(raw)
        self.live.pop(uid, None)
        self._add(uid, _Look(raw, is_gone=True))

    async def work(self) -> None:
        """Look at jobs, one after the other."""
        while True:
            uid = await self._queue.get()
            look = self._waiting.pop(uid)
            self._busy.add(uid)
            try:
                await self._settler.settle(look.raw, is_gone=look.is_gone, is_cancelled=look.is_cancelled)
            except ApiError as error:
                logger.warning("A job cannot be kept now", extra={"uid": uid, "reason": error.message})
                pause = min(_LONGEST_PAUSE, self._again_after * 2**look.failures)
                asyncio.get_running_loop().call_later(pause, self._again, uid, look)
            except Exception:  # one job that cannot be understood must not hold up all others
                logger.exception("A job cannot be kept", extra={"uid": uid})
            finally:
                self._busy.discard(uid)
                if uid in self._waiting:
                    self._queue.put_nowait(uid)

    def _add(self, uid: str, look: _Look) -> None:
        if uid not in self._waiting and uid not in self._busy:
            self._queue.put_nowait(uid)
        self._waiting[uid] = look

    def _again(self, uid: str, look: _Look) -> None:
        """Look again, unless the job has changed since."""
        if uid not in self._waiting and (look.is_gone or self.live.get(uid) is look.raw):
            self._add(uid, replace(look, failures=look.failures + 1))
