"""``python -m kubetune_trainer prepare|train|evaluate``: reads the TrainerConfig, maps errors to exit codes.

Heavy imports happen inside the subcommands, so that a wrong configuration fails within a second.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from .contract import termination
from .contract.config import CONFIG_PATH, CONFIG_VERSION, TrainerConfig
from .contract.errors import InvalidInput, Preempted, TrainerError
from .contract.messages import Reason, TerminationMessage
from .store import lock, volumes

logger = logging.getLogger("kubetune_trainer")

CONFIG_VARIABLE = "KUBETUNE_CONFIG"
"""Environment variable that names another file than CONFIG_PATH."""

_LAST_LINES = 3
"""Lines of a traceback that go into the termination message; the log has them all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="kubetune_trainer", description=__doc__)
    subcommands = parser.add_subparsers(dest="command", required=True)
    subcommands.add_parser("prepare", help="check and tokenise the data, fetch and pin the model")
    subcommands.add_parser("train", help="train on what prepare made, and publish the artifact")
    subcommands.add_parser(
        "evaluate", help="ask what was trained and its alternatives, score and compare them"
    )
    command: str = parser.parse_args(arguments).command
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    for client in ("httpx", "httpx2"):
        logging.getLogger(client).setLevel(logging.WARNING)  # one line per request, with its address
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of a package that it does without
    # DeepSpeed and bitsandbytes compile at import otherwise: seconds of every start, and nothing else does.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    return run({"prepare": _prepare, "train": _train, "evaluate": _evaluate}[command])


def run(subcommand: Callable[[TrainerConfig], int]) -> int:
    """Run a subcommand on the configuration; every error becomes a termination message and its code."""
    config: TrainerConfig | None = None
    try:
        config = read_config()
        return subcommand(config)
    except Exception as error:
        known: TrainerError | None = error if isinstance(error, TrainerError) else None
        if config is not None:
            known = volumes.explained(error, config) or known
        if known is not None:
            logger.error("%s: %s", known.reason, termination.redact(known.message))
            termination.write(termination.failed(known))
            return int(known.code)
        lines = traceback.format_exception(error)
        logger.error("%s", termination.redact("".join(lines)))
        message = termination.redact("".join(lines[-_LAST_LINES:]).strip())
        termination.write(TerminationMessage(reason=Reason.UNKNOWN, message=message))
        return 1


def read_config() -> TrainerConfig:
    """Read and validate the TrainerConfig."""
    path = Path(os.environ.get(CONFIG_VARIABLE, CONFIG_PATH))
    try:
        return TrainerConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"The configuration {path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise InvalidInput(
            f"The configuration {path} is not one that this trainer (version {CONFIG_VERSION}) understands: "
            f"{field}: {first['msg']}. Use the trainer image that belongs to the operator."
        ) from None


def _prepare(config: TrainerConfig) -> int:
    def prepare(confirm: Callable[[], None]) -> int:
        from .prepare.command import main

        return main(config, confirm)

    return _alone(config, "prepare", prepare)


def _evaluate(config: TrainerConfig) -> int:
    def evaluate(confirm: Callable[[], None]) -> int:
        from .evaluate.command import main

        return main(config, confirm, os.environ)

    return _alone(config, "evaluate", evaluate)


def _alone(config: TrainerConfig, stage: str, work: Callable[[Callable[[], None]], int]) -> int:
    """Work under the lock of the job's directory; who has lost it, or is stopped, ends at once."""
    own = lock.of(config, stage, os.environ)
    before = end_on_sigterm(stage, own.release)
    try:
        with own.held(lost=lambda error: _leave(volumes.explained(error, config) or error)):
            return work(own.hold.confirm)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # all is done, and process 1 ignores it again


def end_on_sigterm(stage: str, release: Callable[[], None]) -> Any:
    """From now on SIGTERM ends the process at once as preempted; as process 1 it would be ignored.

    The handler does not raise: libraries catch any exception, and would make a wrong model of it. The next
    process of the stage removes what is left on the volume, or goes on with it. Returns the handler that it
    replaces.
    """
    error = Preempted(
        f"{stage.capitalize()} was stopped (SIGTERM) before it was done; it can be started again."
    )
    return signal.signal(signal.SIGTERM, lambda *_: _leave(error, release))


def _leave(error: TrainerError, release: Callable[[], None] = lambda: None) -> NoReturn:
    try:
        termination.write(termination.failed(error))
        os.write(sys.stderr.fileno(), f"{error.reason}: {error.message}\n".encode())
        release()
    finally:
        os._exit(error.code)


def _train(config: TrainerConfig) -> int:
    from .process.launch import main as launch

    return launch(config)


if __name__ == "__main__":
    sys.exit(main())
