"""Saves a checkpoint on all ranks together, and deletes older ones once it is verified."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..contract.errors import Transient
from ..gang.peers import Peers
from ..store import resume, unfinished
from ..store.checkpoints import Checkpoints, own_files
from ..store.manifest import FileEntry
from .checkpoint_interval import CheckpointInterval
from .guards import Guards
from .journal import Journal

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True, kw_only=True)
class Saver:
    """The checkpoints of one attempt, seen from one rank."""

    peers: Peers
    checkpoints: Checkpoints
    expected_bytes: int
    """Size of the first one."""
    dtype: str
    interval: CheckpointInterval
    guards: Guards
    """While they suspect the latest step, older checkpoints are kept."""
    journal: Journal | None
    """On rank 0 only."""

    def due(self, step: int) -> bool:
        """Whether this rank wants a checkpoint after a step; by time only rank 0 does, whose clock counts."""
        timed = self.interval.every_steps is None
        return not (timed and self.peers.rank) and self.interval.due(step, time.monotonic())

    def save(self, step: int, *, tokens: int, write: Callable[[Path], Mapping[Path, str]]) -> None:
        """Save after a step, unless the volume is full; every rank calls it.

        ``tokens`` are those of all steps so far; ``write`` puts this rank's files into a directory, and
        returns the SHA-256 of those that it has hashed."""
        started = time.monotonic()
        begun: Path | None = None
        if self.peers.rank == 0:
            begun = self.checkpoints.begin(step, expected_bytes=self.expected_bytes)
        name = self.peers.broadcast(begun and begun.name)
        if name is None:
            self.interval.passed_over(time.monotonic())
            return
        directory = self.checkpoints.directory / name
        own = own_files(directory, self.peers.rank, write(directory))
        told = self.peers.gather([asdict(file) for file in own])
        files = [FileEntry(**file) for file in itertools.chain(*told)]
        surplus = False
        if self.peers.rank == 0:
            self.checkpoints.commit(directory, files, step=step, tokens=tokens, dtype=self.dtype)
            surplus = self.checkpoints.surplus and not self.guards.suspicious
        if self.peers.broadcast(surplus):
            self._retire(unfinished.final(directory), own)
        now = time.monotonic()
        self.interval.saved(now, seconds=now - started)
        if self.journal is not None:
            self.journal.saved(step=step, seconds=now - started, size=sum(file.size for file in files))

    def _retire(self, newest: Path, own: list[FileEntry]) -> None:
        """Delete older checkpoints once every rank has read back its files of the newest."""
        try:
            damage = resume.agree(self.peers, newest, own)
        except Transient as error:
            damage = error.message
        if self.peers.rank != 0:
            return
        if damage is None:
            self.checkpoints.retire()
        else:
            logger.warning("Older checkpoints are kept: %s", damage)
