"""Lines of a log: a constant message and its keys, as JSON for programs or as text for people. Pure."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from typing_extensions import override

from .strangers import plain, plain_lines

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


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    # kopf's own records carry whole objects.
    return {k: v for k, v in vars(record).items() if k not in _OWN and not k.startswith(("k8s_", "settings"))}
