"""Verified checkpoints: ``checkpoints/step-000100`` exists whole or not at all.

A checkpoint is written to a hidden directory; each rank makes its own files durable; rank 0 writes the
manifest and renames the directory once. A resume believes only a manifest that verifies. Nothing here
knows torch.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .config import TrainingConfig
from .errors import InvalidInput, name_list
from .manifest import (
    FileEntry,
    Manifest,
    ManifestError,
    list_files,
    read_manifest,
    sync_directory,
    sync_file,
    verify_manifest,
    write_manifest,
)
from .sampler import SAMPLER_NAME

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{6,})")
_HIDDEN = re.compile(r"\.(old-|broken-)?step-\d{6,}")
"""What this module leaves behind when it is cut off; other names with a dot are the volume's or a user's."""

_RANK_IN_NAME = re.compile(r"(?:rng_state_|zero_pp_rank_)(\d+)")
"""DeepSpeed's and HF's names for files that one rank writes; every other file is rank 0's."""

_SPACE_FACTOR = 1.2
"""Free space that a save needs, as a multiple of the last checkpoint: it must never be cut off by a full
disk."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Layout:
    """What must be the same for a checkpoint to be continued exactly."""

    world_size: int
    global_batch: int
    zero_stage: int
    sampler: str

    @classmethod
    def of(cls, training: TrainingConfig, *, world_size: int) -> Layout:
        """Layout of what so many ranks write."""
        return cls(
            world_size=world_size,
            global_batch=training.batch_size,
            zero_stage=training.zero_stage,
            sampler=SAMPLER_NAME,
        )


_REMEDIES = {
    "world_size": "set spec.training.nodes and gpusPerNode back",
    "global_batch": "set spec.training.batchSize back",
    "zero_stage": "set spec.training.deepspeed.zeroStage back",
    "sampler": "use the trainer image that the run began with",
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Found:
    """A checkpoint to continue from."""

    path: Path
    step: int
    tokens: int
    dtype: str


class Checkpoints:
    """The checkpoints of one run; only ``own_files`` is for every rank, the rest is rank 0's."""

    def __init__(self, directory: Path, layout: Layout, *, keep: int) -> None:
        self._directory = directory
        self._layout = layout
        self._keep = max(1, keep)

    def newest(self) -> Found | None:
        """The newest checkpoint that verifies and fits; None when the run has none at all.

        Raises:
            InvalidInput: there are checkpoints, but none is intact, or all are of another world size, batch
                or order: to begin anew would throw GPU hours away without a word.
            OSError: the volume did not let one be read.
        """
        return self._newest(verify_manifest)

    def require_fitting(self) -> None:
        """Refuse what ``newest`` would, from the manifests alone: no file is read and hashed.

        Raises:
            InvalidInput: as ``newest``.
            OSError: the volume did not let one be read.
        """
        self._newest(read_manifest)

    def _newest(self, read: Callable[[Path], Manifest]) -> Found | None:
        misfit: str | None = None
        damaged: list[str] = []
        for step, path in self._finished():
            try:
                manifest = read(path)
            except ManifestError as error:
                logger.warning("Checkpoint passed over: %s", error)
                damaged.append(str(error))
                continue
            reason = self._misfit(manifest, path)
            if reason is None:
                details = manifest.details
                return Found(path=path, step=step, tokens=int(details["tokens"]), dtype=str(details["dtype"]))
            misfit = misfit or reason
        if misfit is not None:
            raise InvalidInput(misfit)
        if damaged:
            raise InvalidInput(
                f"No checkpoint of this run is as it was written ({name_list(damaged, 3)}). Delete "
                f"{self._directory} to train from the beginning, or change spec.training.seed."
            )
        return None

    def begin(self, step: int, *, expected_bytes: int) -> Path | None:
        """Make the directory to write into; None, with a warning, when the volume is too full."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._clear_hidden()
        needed = int(_SPACE_FACTOR * (self._last_size() or expected_bytes))
        if shutil.disk_usage(self._directory).free < needed:
            self._delete_older_than_newest(keep=1)
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            logger.warning(
                "No checkpoint at step %d: it needs %d bytes, the volume has %d", step, needed, free
            )
            return None
        path = self._directory / f".step-{step:06d}"
        path.mkdir()
        return path

    def commit(
        self, written: Path, files: Iterable[FileEntry], *, step: int, tokens: int, dtype: str
    ) -> Manifest:
        """Publish what every rank has written, then delete what is no longer needed."""
        details = {"step": step, "tokens": tokens, "dtype": dtype, **asdict(self._layout)}
        manifest = write_manifest(written, files, details)
        final = self._directory / written.name.removeprefix(".")
        if final.exists():  # it did not verify, or the run would have continued from it
            final.rename(self._directory / f".broken-{final.name}")
        written.rename(final)
        sync_directory(self._directory)
        self._delete_older_than_newest(keep=self._keep)
        self._clear_hidden()
        return manifest

    def _finished(self) -> list[tuple[int, Path]]:
        """Directories by step, newest first."""
        if not self._directory.is_dir():
            return []
        named = ((_NAME.fullmatch(path.name), path) for path in self._directory.iterdir())
        return sorted(
            ((int(match[1]), path) for match, path in named if match and path.is_dir()), reverse=True
        )

    def _misfit(self, manifest: Manifest, path: Path) -> str | None:
        for field, wanted in asdict(self._layout).items():
            found = manifest.details.get(field)
            if found != wanted:
                return (
                    f"Checkpoint {path.name} was written with {field.replace('_', ' ')} {found}, this "
                    f"job has {wanted}: {_REMEDIES[field]} to go on from it, or change spec.training.seed "
                    "to start anew."
                )
        return None

    def _last_size(self) -> int | None:
        for _, path in self._finished():
            try:
                return read_manifest(path).size_bytes
            except (ManifestError, OSError):
                continue
        return None

    def _delete_older_than_newest(self, *, keep: int) -> None:
        """Delete all but ``keep``, once the newest has been read back and verifies."""
        finished = self._finished()
        if len(finished) <= keep:
            return
        try:
            verify_manifest(finished[0][1])
        except (ManifestError, OSError) as error:
            logger.warning("Older checkpoints are kept: %s", error)
            return
        for _, path in finished[keep:]:
            hidden = path.with_name(f".old-{path.name}")
            path.rename(hidden)  # a half-deleted checkpoint never carries the name of a whole one
            _remove(hidden)

    def _clear_hidden(self) -> None:
        for path in self._directory.iterdir():
            if _HIDDEN.fullmatch(path.name):
                _remove(path)


def _remove(path: Path) -> None:
    """Delete as much as goes: a file that NFS holds for a reader must not end a training."""
    shutil.rmtree(path, ignore_errors=True)


def own_files(directory: Path, rank: int) -> list[FileEntry]:
    """Make durable and describe the files of a checkpoint that this rank has written."""
    return [sync_file(directory, name) for name in list_files(directory) if _writer(name) == rank]


def _writer(name: str) -> int:
    match = _RANK_IN_NAME.search(name)
    return int(match[1]) if match else 0
