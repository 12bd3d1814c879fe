"""Turns what the kernel says of a volume (not permitted, read-only, full) into a sentence naming the volume.

Such an error comes from anywhere, often wrapped by a library, and trying again does not help: so it is looked
for once, where a subcommand ends.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..contract.config import AdoptedConfig, FileSource, ModelSource, TrainerConfig
from ..contract.errors import DataInvalid, InvalidInput, ModelUnavailable, VolumeUnusable
from ..contract.layout import output_root

_DENIED = {errno.EACCES, errno.EPERM}
_FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "has reached its quota"}


def make_room(size: str | None = None) -> str:
    """What to do on a volume that is too small, with the size that would do where it is known.

    A claim outlives its job, and a job of the same name takes it as it is, whatever storage.size says."""
    enough, wish = (
        (f" to {size}", f"spec.storage.size {size}") if size else ("", "a larger spec.storage.size")
    )
    return (
        f"enlarge the job's output claim{enough}, remove from it what is no longer needed, or delete it with "
        f"all that it holds and ask for {wish}"
    )


MAKE_ROOM = make_room()

_TORCH_WRITER = ("inline_container", "PytorchStreamWriter", "iostream error")
"""Parts of what torch.save says when it could not write, whatever the reason."""

_NO_ROOM = 8 * 1024 * 1024
"""Bytes: a volume with less is what a large write has just filled."""


def explained(error: BaseException, config: TrainerConfig | None) -> InvalidInput | None:
    """What to tell about an error that a volume is the cause of; None for any other error."""
    for cause in _causes(error):
        found = _explained(cause, config) if isinstance(cause, OSError) else _explained_by_text(cause)
        if found is not None:
            return found
    return None


def is_full(error: OSError) -> bool:
    """Whether a volume has no room, which may pass when others delete."""
    return error.errno in _FULL


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explained_by_text(error: BaseException) -> InvalidInput | None:
    """Of a writer that hides the kernel's error: safetensors and tokenizers, in Rust, and torch.save."""
    text = str(error)
    for number in _FULL:
        if f"(os error {number})" in text:
            return _full(number)
    if isinstance(error, RuntimeError) and any(mark in text for mark in _TORCH_WRITER) and _has_no_room():
        return _full(errno.ENOSPC)
    return None


def _has_no_room() -> bool:
    try:
        return shutil.disk_usage(output_root()).free < _NO_ROOM
    except OSError:
        return False


def _full(number: int) -> VolumeUnusable:
    return VolumeUnusable(f"The output volume {_FULL[number]}: {MAKE_ROOM}.")


def _explained(error: OSError, config: TrainerConfig | None) -> InvalidInput | None:
    # An error of copying names the source first; what cannot be written is the other file.
    named = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    paths = [Path(os.fsdecode(name)) for name in named]
    path = next((each for each in paths if each.is_relative_to(output_root())), paths[0] if paths else None)
    on_output = path is not None and path.is_relative_to(output_root())
    if error.errno in _FULL and (on_output or path is None):  # a write names no file; all large ones go there
        return _full(error.errno)
    if path is None:  # servers forbid things too, and their clients raise the same class without a file
        return None
    if on_output and error.errno == errno.EROFS:
        return VolumeUnusable("The output volume is mounted read-only: use a claim that may be written.")
    if error.errno not in _DENIED:
        return None
    who = f"user {os.geteuid()}, group {os.getegid()}"
    if on_output:
        return VolumeUnusable(
            f"The output volume is not writable by the pod ({who}: {path}). Let that group write to it: the "
            "platform's setting fsGroup does so where the storage supports it, else change the files' owner."
        )
    for source, failure in _inputs(config) if config else ():
        if source.mount and (path.is_relative_to(source.mount) or Path(source.mount).is_relative_to(path)):
            return failure(
                f"{source.uri} is not readable by the pod ({who}: {path}). Make its files readable (chmod -R "
                "a+rX), or let the platform's setting fsGroup give them the pod's group."
            )
    return None


def _inputs(
    config: TrainerConfig,
) -> Iterator[tuple[ModelSource | AdoptedConfig | FileSource, type[InvalidInput]]]:
    yield config.model, ModelUnavailable
    if config.adopt is not None:
        yield config.adopt, ModelUnavailable
    for rows in (config.dataset.train, config.dataset.validation):
        if rows is not None:
            yield rows, DataInvalid
