"""How an attempt ended: each rank leaves a small file for the parent, which decides on one cause.

The directory is private to the pod and holds the configuration for the ranks, then ``rank-<n>.json`` of each.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..contract.config import TrainerConfig
from ..contract.messages import ExitCode, Reason, TerminationMessage

_WATCHDOG = "Watchdog caught collective operation timeout"
"""What torch's watchdog of NCCL prints before it aborts the process."""

_LONGEST_LINE = 300
"""Characters of a line that go into a sentence."""


@dataclass(slots=True, frozen=True, kw_only=True)
class RankExit:
    """How one rank's process ended."""

    local_rank: int
    status: int
    """As subprocess has it: the exit code, or minus the signal."""
    said: str = ""
    """The end of what it printed."""
    killed_by_us: bool = False
    """Killed after the grace period, so never the cause."""

    @property
    def timed_out(self) -> bool:
        """Whether NCCL's watchdog aborted it: from a thread, so that no Python code could leave a reason."""
        return self.status == -signal.SIGABRT and _WATCHDOG in self.said

    @property
    def code(self) -> int:
        """The container's exit code for it: 128 + n for a signal."""
        if self.timed_out:
            return ExitCode.PEER_LOST
        return self.status if self.status >= 0 else 128 - self.status


def write_config(directory: Path, config: TrainerConfig) -> None:
    """Hand the configuration to the ranks."""
    (directory / "config.json").write_text(config.model_dump_json(), encoding="utf-8")


def read_config(directory: Path) -> TrainerConfig:
    """The configuration that the parent has validated."""
    return TrainerConfig.model_validate_json((directory / "config.json").read_text(encoding="utf-8"))


def write_outcome(directory: Path, local_rank: int, message: TerminationMessage) -> None:
    """Leave this rank's outcome; a reader sees all of it or nothing."""
    temporary = directory / f"rank-{local_rank}.tmp"
    temporary.write_text(message.model_dump_json(), encoding="utf-8")
    temporary.rename(directory / f"rank-{local_rank}.json")


def read_outcome(directory: Path, local_rank: int) -> TerminationMessage | None:
    """A rank's outcome; None when it died without one."""
    try:
        text = (directory / f"rank-{local_rank}.json").read_text(encoding="utf-8")
        return TerminationMessage.model_validate_json(text)
    except (OSError, ValidationError):
        return None


def conclude(
    exits: Sequence[RankExit], directory: Path, *, oom_killed: bool
) -> tuple[TerminationMessage, ExitCode | int]:
    """The pod's termination message and exit code, from its ranks' ends in the order in which they came.

    The cause is the rank that failed first. PeerLost only echoes another rank's failure: when a rank of this
    pod failed in another way, that is the cause, whichever of the two was seen first.
    """
    outcomes = {end.local_rank: read_outcome(directory, end.local_rank) for end in exits}
    failures = [end for end in exits if end.status and not end.killed_by_us]
    causes = [end for end in failures if end.code != ExitCode.PEER_LOST] or failures
    if not causes:
        return outcomes.get(0) or TerminationMessage(
            reason=Reason.COMPLETED, message="Training completed."
        ), 0
    cause = causes[0]
    if cause.status == -signal.SIGKILL and oom_killed:
        return _out_of_memory(cause, outcomes), ExitCode.OUT_OF_MEMORY
    if cause.timed_out:
        return _timed_out(cause, outcomes), cause.code
    return outcomes[cause.local_rank] or _unknown(cause, outcomes), cause.code


def _timed_out(cause: RankExit, outcomes: dict[int, TerminationMessage | None]) -> TerminationMessage:
    line = next(line for line in cause.said.splitlines() if _WATCHDOG in line)
    what = line[line.index(_WATCHDOG) :][:_LONGEST_LINE]
    return TerminationMessage(
        reason=Reason.PEER_LOST,
        message=f"Another rank did not answer local rank {cause.local_rank} in time: {what}",
        step=_last_step(outcomes),
    )


def _out_of_memory(cause: RankExit, outcomes: dict[int, TerminationMessage | None]) -> TerminationMessage:
    return TerminationMessage(
        reason=Reason.OUT_OF_MEMORY,
        message=f"The kernel killed local rank {cause.local_rank}: the container reached its memory limit.",
        step=_last_step(outcomes),
    )


def _unknown(cause: RankExit, outcomes: dict[int, TerminationMessage | None]) -> TerminationMessage:
    if cause.status < 0:
        try:
            name = signal.Signals(-cause.status).name
        except ValueError:
            name = "an unknown name"
        how = f"was killed by signal {-cause.status} ({name})"
    else:
        how = f"ended with code {cause.status}"
    return TerminationMessage(
        reason=Reason.UNKNOWN,
        message=f"Local rank {cause.local_rank} {how} and left no reason; {_last_words(cause)}",
        step=_last_step(outcomes),
    )


def _last_words(cause: RankExit) -> str:
    lines = [line.strip() for line in cause.said.splitlines() if line.strip()]
    return f"its log ends with: {lines[-1][-_LONGEST_LINE:]}" if lines else "the pod's log may say more."


def _last_step(outcomes: dict[int, TerminationMessage | None]) -> int | None:
    """The furthest step that a surviving rank reports."""
    steps = [
        message.step for message in outcomes.values() if message is not None and message.step is not None
    ]
    return max(steps, default=None)
