"""Writes the termination message, which the operator reads from the pod's status.

It never exceeds TERMINATION_LIMIT bytes: the last bad rows and warnings are left out first, since a cut JSON
document tells the operator nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .config import CREDENTIAL_KEYS
from .errors import TrainerError
from .evaluation import EvaluateSummary
from .messages import (
    TERMINATION_LIMIT,
    TERMINATION_LOG,
    PrepareSummary,
    Reason,
    TerminationMessage,
    TrainSummary,
)

LOG_VARIABLE = "KUBETUNE_TERMINATION_LOG"
"""Environment variable that names another file (tests, runs outside Kubernetes)."""


def completed(
    message: str, summary: PrepareSummary | TrainSummary | EvaluateSummary, *, step: int | None = None
) -> TerminationMessage:
    """Message of a run that did what it should."""
    data = summary.model_dump(mode="json", exclude_none=True)
    return TerminationMessage(reason=Reason.COMPLETED, message=message, step=step, summary=data)


def failed(error: TrainerError, *, step: int | None = None) -> TerminationMessage:
    """Message of an error."""
    return TerminationMessage(reason=error.reason, message=error.message, step=step, summary=error.summary())


def write(message: TerminationMessage) -> None:
    """Write the message to the termination log, or to stderr where there is none."""
    text = encode(message)
    path = Path(os.environ.get(LOG_VARIABLE, TERMINATION_LOG))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        print(text, file=sys.stderr, flush=True)


def encode(message: TerminationMessage, limit: int = TERMINATION_LIMIT) -> str:
    """JSON of at most ``limit`` bytes, without credentials."""
    data = message.model_dump(mode="json", exclude_none=True)
    data["message"] = redact(data["message"])
    if not data["summary"]:
        del data["summary"]
    text = redact(_dump(data))
    while len(text.encode()) > limit:
        _shorten(data, excess=len(text.encode()) - limit)
        text = redact(_dump(data))
    return text


def redact(text: str) -> str:
    """Replace the values of credential variables: servers and libraries may quote them in errors."""
    for name, value in os.environ.items():
        if name.upper() in _PROXIES:  # the user and the password, as far as its URL has them
            before = value.rpartition("@")[0]
            value = before.partition("//")[2] or before
        elif not any(name.endswith(key) for key in _SECRET_KEYS):
            continue
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, f"<{name}>")
    return text


_SECRET_KEYS = tuple(key for keys in CREDENTIAL_KEYS.values() for key, required in keys.items() if required)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")
_SHORTEST_SECRET = 6  # a shorter value is no secret, and replacing it would garble the text


def _dump(data: dict[str, Any]) -> str:
    return TerminationMessage.model_validate(data).model_dump_json(exclude_none=True, exclude_defaults=True)


def _shorten(data: dict[str, Any], *, excess: int) -> None:
    """Make the message smaller: the last bad row goes, then the last warning, then the sentence's middle, and
    then what candidates score by the metrics that do not decide."""
    summary = data.get("summary", {})
    rows = summary.get("rows")  # of an evaluation it is their number
    artifact = summary.get("artifact")  # of an evaluation it is a digest
    warnings = summary.get("dataset", summary).get("warnings")
    if not warnings and isinstance(artifact, dict):
        warnings = artifact.get("warnings")
    scored = [candidate for candidate in summary.get("candidates", ()) if candidate.get("scores")]
    if rows and isinstance(rows, list):
        rows.pop()
    elif warnings:
        warnings.pop()
    elif len(data["message"]) > 200:
        keep = max(100, (len(data["message"]) - excess) // 2 - 10)
        data["message"] = f"{data['message'][:keep]} ... {data['message'][-keep:]}"
    elif scored:
        scored[-1]["scores"] = {}
    else:
        data["summary"] = {}
