"""Logging: JSON lines in a cluster, text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Literal

from kubetune.vocabulary.log_lines import JsonFormatter, PlainFormatter


def configure_logging(*, level: str, form: Literal["json", "plain"]) -> None:
    """Send everything to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # They tell of each start and each connection; what matters is said by us.
    for name in ("uvicorn", "botocore", "aiobotocore", "asyncio"):
        logging.getLogger(name).setLevel("WARNING")
