"""``epochs/step-000300``: the adapter as it was at the end of an epoch, in the form in which servers load it.

So many are kept beside the result as the job asks for. Each is checked before it counts, as the artifact is,
and verified before it is told. A run that goes on from an earlier checkpoint makes anew what came after it.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..base.adapters import add_lora
from ..base.architecture import on_meta
from ..base.checkpoint import Shapes, tensor_shapes
from ..base.stored_names import Piece, adapter_names
from ..contract.config import TrainerConfig
from ..contract.errors import AdapterInvalid
from ..contract.layout import RunDirectory
from ..contract.messages import CheckpointSummary, ModelSummary
from ..gang.peers import Peers
from ..store import unfinished
from ..store.ledger import Ledger
from ..store.manifest import (
    ManifestError,
    list_files,
    read_manifest,
    sync_directory,
    sync_file,
    verify_manifest,
    verify_names,
    write_manifest,
)
from . import weights
from .adapter import save_adapter
from .checks import check_named_after_base, check_weights

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{6,})")

_SPACE_FACTOR = 1.2
"""Free space that keeping one needs, as a multiple of its size: it must not be cut off by a full disk."""


class EpochAdapters:
    """Those of one run. Every rank must call each method; rank 0 writes."""

    def __init__(
        self,
        model: Any,
        config: TrainerConfig,
        run: RunDirectory,
        base: ModelSummary,
        peers: Peers,
        *,
        confirm: Callable[[], None],
        from_step: int,
        steps_per_epoch: int,
        total_steps: int,
    ) -> None:
        """``model`` has the adapter beside it; the run goes on after ``from_step``.

        ``confirm`` is called right before anything changes, and raises when this attempt may not.
        """
        self._config = config
        self._run = run
        self._base = base
        self._peers = peers
        self._confirm = confirm
        self._steps_per_epoch = steps_per_epoch
        self._total_steps = total_steps
        self._most = config.training.keep_epochs
        self._ledger = Ledger(run.root)
        self._stored: Shapes = {}
        self._names: dict[str, list[Piece]] = {}
        self._kept: set[int] = set(peers.told_by_first(lambda: self._begin(model, from_step)))

    def keep(self, model: Any, step: int) -> None:
        """Keep the adapter after a step, if an epoch ends there that is not the last, and it is not there."""
        ends = step > 0 and step % self._steps_per_epoch == 0 and step < self._total_steps
        if not self._most or not ends or step in self._kept:
            return
        gathered = weights.gather(model, self._peers, whole=False)
        self._kept = set(self._peers.told_by_first(lambda: self._keep(model, gathered, step)))

    def _begin(self, model: Any, from_step: int) -> list[int]:
        """What is there up to a step; all else is deleted."""
        if self._most:
            path = Path(self._base.path)
            self._stored = tensor_shapes(path, self._config.model.uri)
            self._names = adapter_names(_unquantised(model, self._config, path), self._stored)
        if not _entries(self._run):
            return []
        found = [step for step in _steps(self._run) if step <= from_step and self._is_own(step)]
        self._sweep(found)
        return found

    def _is_own(self, step: int) -> bool:
        """Whether all of it is there, and from this run; its content is read before it is told."""
        path = _path(self._run, step)
        try:
            manifest = read_manifest(path)
            verify_names(path, manifest)
            self._ledger.require(_entry(path), manifest)
        except ManifestError as error:
            logger.warning("An adapter of an earlier epoch is passed over: %s", error)
            return False
        return True

    def _keep(self, model: Any, gathered: dict[str, Any], step: int) -> list[int]:
        """Write it, and return the steps that are there now."""
        kept = sorted(self._kept)
        self._confirm()
        self._run.epochs.mkdir(exist_ok=True)
        needed = int(_SPACE_FACTOR * sum(tensor.nbytes for tensor in gathered.values()))
        if (free := shutil.disk_usage(self._run.epochs).free) < needed:
            logger.warning(
                "The adapter of step %d is not kept: it needs %d bytes, the volume has %d", step, needed, free
            )
            return kept
        try:
            self._write(model, gathered, step)
        except AdapterInvalid as error:
            logger.warning("The adapter of step %d is not kept: %s", step, error.message)
            self._sweep(kept)
            return kept
        kept = [*kept, step][-self._most :]
        self._sweep(kept)
        return kept

    def _write(self, model: Any, gathered: dict[str, Any], step: int) -> None:
        final = _path(self._run, step)
        directory = unfinished.beside(final)
        directory.mkdir()
        expected = save_adapter(model, gathered, self._config, self._base, self._names, directory)
        check_named_after_base(expected, self._stored)
        check_weights(directory, expected, lora=True)
        for path in directory.iterdir():
            path.chmod(0o644)  # safetensors writes 0600, and serving pods have another user
        files = [sync_file(directory, name) for name in list_files(directory)]
        details = {"step": step, "epoch": step // self._steps_per_epoch}
        manifest = write_manifest(directory, files, details)
        self._confirm()
        shutil.rmtree(final, ignore_errors=True)  # it did not verify, or it would be kept already
        self._ledger.record(_entry(final), manifest)
        directory.rename(final)
        sync_directory(self._run.epochs)

    def _sweep(self, keep: list[int]) -> None:
        """Delete all others, and what was cut off."""
        self._confirm()
        kept = {_path(self._run, step) for step in keep}
        for path in _entries(self._run):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)
        self._ledger.keep(f"{self._run.epochs.name}/", {_entry(path) for path in kept})


def kept(run: RunDirectory, *, most: int, result_step: int | None) -> tuple[CheckpointSummary, ...]:
    """The latest of a run, as many as are asked for, whose every file is as it was written.

    The one with the weights of the result, of ``result_step``, is left out.

    Raises:
        OSError: the volume did not let one be read.
    """
    found: list[CheckpointSummary] = []
    for step in reversed(_steps(run) if most else []):
        if step == result_step or len(found) == most:
            continue
        path = _path(run, step)
        try:
            manifest = verify_manifest(path)
            Ledger(run.root).require(_entry(path), manifest)
            found.append(CheckpointSummary(step=step, epoch=manifest.details["epoch"]))
        except ManifestError as error:
            logger.warning("An adapter of an earlier epoch is not used: %s", error)
    return tuple(reversed(found))


def _unquantised(model: Any, config: TrainerConfig, base: Path) -> Any:
    """A model whose matrices have the shapes of the base's files: those in 4 bits have others."""
    if config.training.adapter.type != "QLoRA":
        return model
    from transformers import AutoConfig

    kind = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    return add_lora(on_meta(kind, config.model.uri), config.training.adapter)


def _steps(run: RunDirectory) -> list[int]:
    """Of what is there, in ascending order."""
    matches = (_NAME.fullmatch(path.name) for path in _entries(run))
    return sorted(int(match[1]) for match in matches if match)


def _path(run: RunDirectory, step: int) -> Path:
    return run.epochs / f"step-{step:06d}"


def _entry(path: Path) -> str:
    """Name in the ledger."""
    return f"{path.parent.name}/{path.name}"


def _entries(run: RunDirectory) -> list[Path]:
    return list(run.epochs.iterdir()) if run.epochs.is_dir() else []
