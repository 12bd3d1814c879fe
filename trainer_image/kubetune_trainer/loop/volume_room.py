"""Looks at the room on the output volume now and then: each look may be a request to a far server."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .progress import Reports

logger = logging.getLogger(__name__)

_PAUSE = 60.0
"""Seconds."""


@dataclass(slots=True, kw_only=True)
class VolumeRoom:
    """Tells the room; only the training thread looks, so that a volume that hangs keeps no scrape waiting."""

    root: Path
    """On the volume."""
    reports: Reports
    now: Callable[[], float] = time.monotonic
    _last: float | None = field(default=None, init=False)

    def look(self, *, changed: bool = False) -> None:
        """Look, unless that was a moment ago and nothing large has been written since."""
        now = self.now()
        if self._last is not None and now - self._last < _PAUSE and not changed:
            return
        self._last = now
        try:
            found = shutil.disk_usage(self.root)
        except OSError as error:  # what matters more will meet it too
            logger.warning("The room on the output volume is not known: %s", error.strerror)
        else:
            self.reports.measured_volume(free=found.free, size=found.total)
