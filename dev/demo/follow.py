"""Follows a FineTuneJob until it is served or stalled, and says what happens in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.markup import escape

from dev.errors import DevError
from dev.kubectl import Kubectl, condition
from dev.progress import Heartbeat, console

_POLL = 1.0  # seconds


class StalledError(DevError):
    """The job will not go on by itself; the message is the one in its status."""


class NotReachedError(DevError):
    """The job has taken longer than anyone wants to wait."""


def follow(
    kubectl: Kubectl,
    *,
    namespace: str,
    name: str,
    until: str,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Wait for a condition to be True and return the job; a line for each change of what it is doing.

    Changes can be minutes apart: in between, a heartbeat tells whoever has no spinner that it goes on.

    Raises StalledError when the job stalls, and NotReachedError after ``deadline`` seconds.
    """
    end, said, title = clock() + deadline, "", f"waiting for {until}"
    heartbeat = Heartbeat(title, clock=clock)
    with console.status(title) as spinner:
        while True:
            job = kubectl.find("finetunejob", name, "-n", namespace) or {}
            line = describe(job)
            if line != said:
                heartbeat.note(f"   {time.strftime('%H:%M:%S')} {line}")
                said = line
            spinner.update(escape(line))
            if condition(job, until).get("status") == "True":
                return job
            stalled = condition(job, "Stalled")
            if stalled.get("status") == "True":
                raise StalledError(f"{stalled['reason']}: {stalled['message']}")
            if clock() > end:
                raise NotReachedError(f"{until} was not reached within {deadline:.0f} s; last: {line}")
            heartbeat.beat()
            sleep(_POLL)


def describe(job: dict[str, Any]) -> str:
    """One line about a job: what goes on or is wrong, else that it is ready, and progress while it trains."""
    causes = (condition(job, type_) for type_ in ("Stalled", "Reconciling", "Ready"))
    told, progress = next(filter(None, causes), {}), job.get("status", {}).get("progress", {})
    line = f"{told.get('reason', 'Pending')}: {told.get('message', 'the operator has not seen it yet')}"
    if told.get("reason") == "Training" and progress:
        line += f" (step {progress['summary']}, loss {progress.get('loss', '-')})"
    return line
