"""Turns what the kernel says of a volume (not permitted, read-only, full) into a sentence naming the volume.

Such an error comes from anywhere, often wrapped by a library, and trying again does not help: so it is looked
for once, where a subcommand ends.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .config import FileSource, ModelSource, TrainerConfig
from .errors import DataInvalid, InvalidInput, ModelUnavailable
from .layout import output_root

_DENIED = {errno.EACCES, errno.EPERM}
_FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "has reached its quota"}


def explained(error: BaseException, config: TrainerConfig) -> InvalidInput | None:
    """What to tell about an error that a volume is the cause of; None for any other error."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and (found := _explained(cause, config)):
            return found
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explained(error: OSError, config: TrainerConfig) -> InvalidInput | None:
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    on_output = path is not None and path.is_relative_to(output_root())
    if error.errno in _FULL and (on_output or path is None):  # a write names no file; all large ones go there
        return InvalidInput(
            f"The output volume {_FULL[error.errno]}: raise storage.size, or remove what is no longer needed."
        )
    if path is None:  # servers forbid things too, and their clients raise the same class without a file
        return None
    if on_output and error.errno == errno.EROFS:
        return InvalidInput("The output volume is mounted read-only: use a claim that may be written.")
    if error.errno not in _DENIED:
        return None
    who = f"user {os.geteuid()}, group {os.getegid()}"
    if on_output:
        return InvalidInput(
            f"The output volume is not writable by the pod ({who}: {path}). Let that group write to it: the "
            "platform's setting fsGroup does so where the storage supports it, else change the files' owner."
        )
    for source, failure in _inputs(config):
        if source.mount and (path.is_relative_to(source.mount) or Path(source.mount).is_relative_to(path)):
            return failure(
                f"{source.uri} is not readable by the pod ({who}: {path}). Make its files readable (chmod -R "
                "a+rX), or let the platform's setting fsGroup give them the pod's group."
            )
    return None


def _inputs(config: TrainerConfig) -> Iterator[tuple[ModelSource | FileSource, type[InvalidInput]]]:
    yield config.model, ModelUnavailable
    yield config.dataset.train, DataInvalid
    if config.dataset.validation is not None:
        yield config.dataset.validation, DataInvalid
