"""Logging: a constant message and its keys, as JSON lines in a cluster or as text on a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

from typing_extensions import override

from ..vocabulary.strangers import plain, plain_lines

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes of every record; what else it has came through ``extra``."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainFormatter(logging.Formatter):
    """Text for people."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        keys = "".join(f" {key}={value}" for key, value in _extra(record).items())
        text = f"{time} {record.levelname:<7} {plain(record.getMessage() + keys)}"
        return f"{text}\n{plain_lines(self.formatException(record.exc_info))}" if record.exc_info else text


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


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    # kopf's own records carry whole objects.
    return {k: v for k, v in vars(record).items() if k not in _OWN and not k.startswith(("k8s_", "settings"))}
