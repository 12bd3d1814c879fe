"""Has NCCL log to a file what it connects, and reads it once: only where nobody wants the log themselves."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from .nccl_log import transport_of

logger = logging.getLogger(__name__)

DEBUG_VARIABLE = "NCCL_DEBUG"
_VARIABLES = {DEBUG_VARIABLE: "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET,ENV"}
_FILE_VARIABLE = "NCCL_DEBUG_FILE"
_MOST_BYTES = 4 << 20  # of thousands of channels; what counts comes first


class NcclDebug:
    """The log of this process's NCCL."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Ask for it; NCCL reads the variables when its first communicator is made."""
        self._file: Path | None = None
        if DEBUG_VARIABLE in environment:
            return  # whoever set it reads it where they wanted it
        self._file = Path(tempfile.mkdtemp(prefix="kubetune-nccl-")) / "log"
        environment.update(_VARIABLES | {_FILE_VARIABLE: str(self._file)})

    def transport(self) -> str | None:
        """What NCCL chose, the first time that it is asked, after a collective; else None."""
        if self._file is None:
            return None
        try:
            with self._file.open("rb") as log:
                text = log.read(_MOST_BYTES).decode(errors="replace")
        except OSError:
            text = ""
        shutil.rmtree(self._file.parent, ignore_errors=True)  # NCCL writes on, into a file without a name
        self._file = None
        found = transport_of(text)
        logger.info("NCCL's transport: %s", found or "unknown")
        return found
