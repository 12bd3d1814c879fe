"""``python -m kubetune_trainer.process.rank DIRECTORY``: one rank's process, started by ``launch``.

It leaves its outcome in the directory and ends with ``os._exit``: tearing down process groups and engines
takes seconds, and nothing is left to save.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from ..contract import termination
from ..contract.config import TrainerConfig
from ..contract.errors import OutOfMemory, TrainerError, Transient
from ..contract.messages import TerminationMessage
from ..gang.stop import StopFlag
from ..store import volumes
from . import outcome

logger = logging.getLogger("kubetune_trainer.process.rank")

_LAST_LINES = 3
"""Lines of a traceback that go into the outcome; the log has them all."""


class Rank:
    """The process: where its outcome goes, and how far it has come."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._local_rank = int(os.environ["LOCAL_RANK"])
        self.step: int | None = None

    def run(self) -> NoReturn:
        """Train, and leave."""
        stop = StopFlag(self.fail)
        stop.listen()
        config: TrainerConfig | None = None
        try:
            config = outcome.read_config(self._directory)
            from ..loop.attempt import train

            summary = train(config, stop, self.stepped)
        except BaseException as error:
            self.fail(explain(error, config))
        message = f"Training completed at step {summary.to_step}."
        self._leave(termination.completed(message, summary, step=summary.to_step), 0)

    def stepped(self, step: int) -> None:
        """Remember the last step done."""
        self.step = step

    def fail(self, error: TrainerError) -> NoReturn:
        """Leave with an error."""
        logger.error("%s: %s", error.reason, error.message)
        self._leave(termination.failed(error, step=self.step), int(error.code))

    def _leave(self, message: TerminationMessage, code: int) -> NoReturn:
        outcome.write_outcome(self._directory, self._local_rank, message)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def explain(error: BaseException, config: TrainerConfig | None) -> TrainerError:
    """Say what an exception means to the operator."""
    if (unusable := volumes.explained(error, config)) is not None:
        return unusable
    if isinstance(error, TrainerError):
        return error
    lines = traceback.format_exception(error)
    logger.error("%s", termination.redact("".join(lines)))
    from ..loop.out_of_memory import is_out_of_memory

    if is_out_of_memory(error):
        return OutOfMemory(_first_line(error))  # the operator adds what to do
    from ..gang import peers

    if (lost := peers.explain(error)) is not None:
        return lost
    if isinstance(error, OSError) and error.filename is not None:
        return Transient(f"The volume failed at {os.fsdecode(error.filename)}: {error.strerror}.")
    return TrainerError("".join(lines[-_LAST_LINES:]).strip())


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


if __name__ == "__main__":
    rank = os.environ["RANK"]
    logging.basicConfig(
        level=logging.INFO if rank == "0" else logging.WARNING,
        format=f"%(asctime)s %(levelname)s rank {rank} %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    Rank(Path(sys.argv[1])).run()
