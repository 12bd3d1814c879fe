"""Verified checkpoints: ``checkpoints/step-000100`` exists whole or not at all.

A checkpoint is written to a hidden directory; each rank makes its own files durable; rank 0 writes the
manifest and renames the directory once. A resume believes only a manifest that verifies. Nothing here
knows torch.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..contract.config import TrainingConfig
from ..data.sampler import SAMPLER_NAME
from . import unfinished
from .ledger import Ledger
from .manifest import (
    FileEntry,
    Manifest,
    ManifestError,
    list_files,
    read_manifest,
    sync_directory,
    sync_file,
    verify_manifest,
    verify_names,
    write_manifest,
)
from .resume import Candidate, Found, Survey

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{6,})")
_HIDDEN = re.compile(r"\.(old-|broken-)?step-\d{6,}(-[0-9a-f]{8})?")
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


class Checkpoints:
    """The checkpoints of one run; only ``own_files`` is for every rank, the rest is rank 0's."""

    def __init__(
        self,
        directory: Path,
        layout: Layout,
        *,
        keep: int,
        confirm: Callable[[], None] = lambda: None,
    ) -> None:
        """``confirm`` is called right before anything changes, and raises when this attempt may not."""
        self._directory = directory
        self._layout = layout
        self._keep = max(1, keep)
        self._confirm = confirm
        self._ledger = Ledger(directory.parent)

    def require_fitting(self) -> None:
        """Refuse what a resume would, from the manifests alone: no file is read and hashed.

        Raises:
            InvalidInput: as ``Survey.newest``.
            OSError: the volume did not let one be read.
        """
        self.survey().newest(lambda _: None)

    def survey(self) -> Survey:
        """Read the manifests.

        Raises:
            OSError: the volume did not let the newest be read.
        """
        candidates: list[Candidate] = []
        damaged: list[str] = []
        misfits: list[str] = []
        for step, path in self._finished():
            try:
                manifest = read_manifest(path)
                verify_names(path, manifest)
                self._ledger.require(path.name, manifest)
            except ManifestError as error:
                logger.warning("Checkpoint passed over: %s", error)
                damaged.append(str(error))
                continue
            except OSError:
                if candidates:  # an older one, which is not needed
                    continue
                raise
            if reason := self._misfit(manifest, path):
                misfits.append(reason)
                continue
            details = manifest.details
            found = Found(path=path, step=step, tokens=int(details["tokens"]), dtype=str(details["dtype"]))
            candidates.append(Candidate(found=found, files=manifest.files))
        return Survey(
            directory=self._directory,
            candidates=tuple(candidates),
            damaged=tuple(damaged),
            misfit=misfits[0] if misfits else None,
        )

    @staticmethod
    def expected_bytes(trained: int) -> int:
        """Size of the first checkpoint: each trained weight, its float32 copy and Adam's two moments."""
        return 16 * trained

    def needed(self, expected_bytes: int) -> int:
        """Free space that the next save needs."""
        return int(_SPACE_FACTOR * (self._last_size() or expected_bytes))

    def newest_bytes(self) -> int:
        """Size of what stays while the next one is written; 0 before the first."""
        return self._last_size() or 0

    def disposable(self) -> int:
        """Bytes that the next save can gain: what an attempt left that was cut off, and older checkpoints."""
        if not self._directory.is_dir():
            return 0
        hidden = [path for path in self._directory.iterdir() if _HIDDEN.fullmatch(path.name)]
        older = [path for _, path in self._finished()[1:]]
        return sum(size_of(path) for path in (*hidden, *older))

    def begin(self, step: int, *, expected_bytes: int) -> Path | None:
        """Make the directory to write into; None, with a warning, when the volume is too full."""
        self._confirm()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._clear_hidden()
        needed = self.needed(expected_bytes)
        if shutil.disk_usage(self._directory).free < needed:
            self._make_room()
        free = shutil.disk_usage(self._directory).free
        if free < needed:
            logger.warning(
                "No checkpoint at step %d: it needs %d bytes, the volume has %d", step, needed, free
            )
            return None
        path = unfinished.beside(self._directory / f"step-{step:06d}")
        path.mkdir()
        return path

    def commit(
        self, written: Path, files: Iterable[FileEntry], *, step: int, tokens: int, dtype: str
    ) -> Manifest:
        """Publish what every rank has written; what is no longer needed goes with ``retire``."""
        details = {"step": step, "tokens": tokens, "dtype": dtype, **asdict(self._layout)}
        manifest = write_manifest(written, files, details)
        published = unfinished.final(written)
        self._confirm()
        if published.exists():  # it did not verify, or the run would have continued from it
            published.rename(self._directory / f".broken-{published.name}")
        self._ledger.record(published.name, manifest)
        written.rename(published)
        sync_directory(self._directory)
        self._clear_hidden()
        return manifest

    @property
    def directory(self) -> Path:
        """Where they lie."""
        return self._directory

    @property
    def surplus(self) -> bool:
        """Whether there are more than are kept, so that it is worth verifying the newest."""
        return len(self._finished()) > self._keep

    def retire(self) -> None:
        """Delete what is no longer needed; only when every rank has verified its files of the newest."""
        self._confirm()
        self._delete_all_but(self._keep)

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

    def _make_room(self) -> None:
        """Delete all but the newest, once it has been read back and verifies."""
        finished = self._finished()
        if len(finished) < 2:
            return
        try:
            verify_manifest(finished[0][1])
        except (ManifestError, OSError) as error:
            logger.warning("Older checkpoints are kept: %s", error)
            return
        self._delete_all_but(1)

    def _delete_all_but(self, keep: int) -> None:
        for _, path in self._finished()[keep:]:
            hidden = path.with_name(f".old-{path.name}")
            path.rename(hidden)  # a half-deleted checkpoint never carries the name of a whole one
            _remove(hidden)
        self._ledger.keep("step-", {path.name for _, path in self._finished()})

    def _clear_hidden(self) -> None:
        for path in self._directory.iterdir():
            if _HIDDEN.fullmatch(path.name):
                _remove(path)


def _remove(path: Path) -> None:
    """Delete as much as goes: a file that NFS holds for a reader must not end a training."""
    shutil.rmtree(path, ignore_errors=True)


def size_of(directory: Path) -> int:
    """Bytes of all files of a directory, which need not exist."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def own_files(directory: Path, rank: int, hashed: Mapping[Path, str] | None = None) -> list[FileEntry]:
    """Make durable and describe the files of a checkpoint that this rank has written.

    ``hashed`` has the SHA-256 of those that were hashed meanwhile; the others are read."""
    names = [name for name in list_files(directory) if _writer(name) == rank]
    return [sync_file(directory, name, sha256=(hashed or {}).get(directory / name)) for name in names]


def _writer(name: str) -> int:
    match = _RANK_IN_NAME.search(name)
    return int(match[1]) if match else 0
