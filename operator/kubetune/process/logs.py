"""Logging: JSON lines in a cluster, text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Literal

from ..vocabulary.log_lines import JsonFormatter, PlainFormatter


def configure_logging(*, level: str, form: Literal["json", "plain"]) -> None:
    """Send everything to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # kopf says every retry and every handler it calls; what matters is said by us.
    logging.getLogger("kopf").setLevel("WARNING" if level != "DEBUG" else "DEBUG")
    logging.getLogger("kopf.objects").setLevel("ERROR")
