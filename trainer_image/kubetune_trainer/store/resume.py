"""Chooses the checkpoint that a run goes on from: the newest that fits and that every rank finds intact.

Rank 0 surveys the manifests. Then each rank reads and hashes its share of the files: one alone would let all
others wait for the length of a whole checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..contract.errors import InvalidInput, Transient, VolumeUnusable, name_list
from ..gang.peers import Peers
from .manifest import FileEntry, ManifestError, verify_file

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True, kw_only=True)
class Found:
    """A checkpoint to continue from."""

    path: Path
    step: int
    tokens: int
    dtype: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Candidate:
    """A checkpoint that fits and has all its files, whose content nobody has read yet."""

    found: Found
    files: tuple[FileEntry, ...]

    def share(self, rank: int, world_size: int) -> list[FileEntry]:
        """The files that one rank reads: about the same number of bytes on each."""
        by_size = sorted(self.files, key=lambda file: (file.size, file.name))
        return by_size[rank::world_size]


Verify = Callable[[Candidate], "str | None"]
"""Says what is wrong with a checkpoint; None when it is intact."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Survey:
    """What the manifests of a run's checkpoints say."""

    directory: Path
    candidates: tuple[Candidate, ...]
    """The newest first."""
    damaged: tuple[str, ...]
    """What is wrong with the others that cannot be used."""
    misfit: str | None
    """Why the newest of another layout cannot be used."""

    def newest(self, verify: Verify) -> Found | None:
        """The newest checkpoint that is intact; None when the run has none at all.

        Raises:
            InvalidInput: there are checkpoints, but none is intact, or all are of another layout: to begin
                anew would throw GPU hours away without a word.
        """
        damaged = list(self.damaged)
        for candidate in self.candidates:
            if (damage := verify(candidate)) is None:
                return candidate.found
            logger.warning("Checkpoint passed over: %s", damage)
            damaged.append(damage)
        if self.misfit is not None:
            raise InvalidInput(self.misfit)
        if damaged:
            raise VolumeUnusable(
                f"No checkpoint of this run is as it was written ({name_list(damaged, 3)}). Delete "
                f"{self.directory} to train from the beginning, or change spec.training.seed."
            )
        return None


def damage(directory: Path, files: Iterable[FileEntry]) -> str | None:
    """Read and hash some files of a directory; None when they are as they were written.

    Raises:
        OSError: the volume did not let one be read.
    """
    try:
        for file in files:
            verify_file(directory, file)
    except ManifestError as error:
        return str(error)
    return None


def verify_together(peers: Peers) -> Verify:
    """Verify each checkpoint on all ranks, which all get the same verdict."""

    def verify(candidate: Candidate) -> str | None:
        files = candidate.share(peers.rank, peers.world_size)
        return agree(peers, candidate.found.path, files)

    return verify


def agree(peers: Peers, directory: Path, files: Iterable[FileEntry]) -> str | None:
    """Verify this rank's files of a directory, and tell what any rank has found.

    Raises:
        Transient: on one rank the volume did not let a file be read.
    """
    try:
        verdict = {"damage": damage(directory, files)}
    except OSError as error:
        verdict = {"unreadable": unreadable(error).message}
    verdicts = peers.gather(verdict)
    for said in verdicts:
        if "unreadable" in said:
            raise Transient(said["unreadable"])
    return next((said["damage"] for said in verdicts if said["damage"]), None)


def unreadable(error: OSError) -> Transient:
    """What to say when the volume fails: the content may be whole, so another attempt is worth it."""
    return Transient(f"The output volume did not let {error.filename} be read: {error.strerror}.")
