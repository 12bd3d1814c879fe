"""``kubetune operator``: settings, logging and the loop around ``main.run``."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Final

from pydantic import ValidationError

from kubetune.api.problems import path_of
from kubetune.process import settings
from kubetune.process.logs import configure_logging
from kubetune.process.main import run

_COLLECT_AFTER: Final = 10_000
"""New objects until the youngest are looked through. Every event and answer makes thousands and drops them
without a cycle: at the interpreter's 700, looking takes 2.5 % of the operator's processor time."""


def run_operator() -> int:
    """Run until SIGTERM; return the process's exit code."""
    try:
        loaded = settings.load()
    except (ValidationError, ValueError) as error:
        print(explain(error), file=sys.stderr)
        return 2
    configure_logging(level=loaded.log_level, form=loaded.log_format)
    gc.freeze()  # what was imported stays: each full collection would look through all of it
    gc.set_threshold(_COLLECT_AFTER)
    asyncio.run(run(loaded))
    return 0


def explain(error: Exception) -> str:
    """What is wrong with the settings: each variable, and the place in it."""
    if not isinstance(error, ValidationError):
        return f"The settings cannot be read: {error}"
    lines = ["The settings are wrong:"]
    for problem in error.errors():
        variable, _, path = path_of(problem).partition(".")
        where = f"{settings.PREFIX}{variable.upper()}{f', {path}' if path else ''}"
        lines.append(f"  {where}: {problem['msg']}")
    return "\n".join(lines)
