"""``best/step-000300``: the trained weights as they were when validation rows had their lowest loss.

They are those that publishing would have taken then, without an optimizer. A run that goes on from an earlier
checkpoint keeps them: they are its own weights, and were scored on the same rows.
"""

from __future__ import annotations

import logging
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..artifact import weights
from ..contract.config import TrainingConfig
from ..contract.errors import VolumeUnusable
from ..contract.layout import RunDirectory
from ..gang.peers import Peers
from ..sizing.looks import ValidationPlan
from ..store import unfinished
from ..store.ledger import Ledger
from ..store.manifest import (
    ManifestError,
    read_manifest,
    sync_directory,
    sync_file,
    verify_manifest,
    verify_names,
    write_manifest,
)

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{6,})")
_FILE = "weights.safetensors"

_SPACE_FACTOR = 1.2
"""Free space that keeping them needs, as a multiple of their size: it must not be cut off by a full disk."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Best:
    """A look at the validation rows."""

    step: int
    validation_loss: float
    """Mean of the sample's, which is the same rows at every look."""


class BestWeights:
    """The best weights of one run. Every rank must call each method; rank 0 writes."""

    def __init__(
        self,
        run: RunDirectory,
        training: TrainingConfig,
        plan: ValidationPlan,
        peers: Peers,
        *,
        confirm: Callable[[], None],
        anew: bool,
    ) -> None:
        """``anew``: the run begins with the base model, so that what is there is none of its own.

        ``confirm`` is called right before anything changes, and raises when this attempt may not.
        """
        self._run = run
        self._whole = training.adapter.full
        self._patience = training.select.patience
        self._plan = plan
        self._peers = peers
        self._confirm = confirm
        self._ledger = Ledger(run.root)
        found = peers.told_by_first(self._clear if anew else self._find)
        self.found = None if found is None else Best(**found)

    def offer(self, model: Any, best: Best) -> bool:
        """Keep the model's weights if their loss is the lowest so far; False where they are not kept."""
        lowest = math.inf if self.found is None else self.found.validation_loss
        if not best.validation_loss < lowest:
            return False
        gathered = weights.gather(model, self._peers, whole=self._whole)
        kept: bool = self._peers.told_by_first(lambda: self._keep(gathered, best))
        if kept:
            self.found = best
        return kept

    def is_final(self, step: int) -> bool:
        """Whether patience has ended: so many looks up to this step have not lowered the loss."""
        if self._patience is None or self.found is None:
            return False
        looks = sum(map(self._plan.due, range(self.found.step + 1, step + 1)))
        return looks >= self._patience

    def restore(self, model: Any) -> Best:
        """Give the model its best weights, and say which they are; it is not trained on.

        Raises:
            VolumeUnusable: they are not there, or not as they were written.
        """
        self._peers.told_by_first(self._verify)
        assert self.found is not None
        weights.restore(model, self._path(self.found.step) / _FILE, whole=self._whole)
        return self.found

    def discard(self) -> None:
        """Delete them: the result is published."""
        self._peers.told_by_first(self._clear)

    def _path(self, step: int) -> Path:
        return self._run.best / f"step-{step:06d}"

    def _clear(self) -> None:
        if self._run.best.exists():
            self._sweep(keep=None)
            shutil.rmtree(self._run.best, ignore_errors=True)

    def _find(self) -> dict[str, Any] | None:
        """The newest, which is the best; its content is read when it is needed."""
        steps = (_NAME.fullmatch(path.name) for path in _entries(self._run.best))
        for step in sorted((int(match[1]) for match in steps if match), reverse=True):
            try:
                manifest = read_manifest(self._path(step))
                verify_names(self._path(step), manifest)
                self._ledger.require(_entry(step), manifest)
                found = Best(step=step, validation_loss=float(manifest.details["validation_loss"]))
                return asdict(found)
            except (ManifestError, KeyError, ValueError) as error:
                logger.warning("Best weights passed over: %s", error)
        return None

    def _keep(self, gathered: dict[str, Any], best: Best) -> bool:
        self._confirm()
        self._run.best.mkdir(exist_ok=True)
        needed = int(_SPACE_FACTOR * sum(tensor.nbytes for tensor in gathered.values()))
        if (free := shutil.disk_usage(self._run.best).free) < needed:
            logger.warning(
                "The best weights, of step %d, are not kept: they need %d bytes, the volume has %d",
                best.step,
                needed,
                free,
            )
            return False
        self._write(gathered, best)
        self._sweep(keep=best.step)
        return True

    def _write(self, gathered: dict[str, Any], best: Best) -> None:
        from safetensors.torch import save_file

        final = self._path(best.step)
        written = unfinished.beside(final)
        written.mkdir()
        save_file({name: tensor.contiguous() for name, tensor in gathered.items()}, written / _FILE)
        manifest = write_manifest(written, [sync_file(written, _FILE)], asdict(best))
        self._confirm()
        shutil.rmtree(final, ignore_errors=True)  # it did not verify, or its loss would be known
        self._ledger.record(_entry(best.step), manifest)
        written.rename(final)
        sync_directory(self._run.best)

    def _sweep(self, *, keep: int | None) -> None:
        """Delete all others, and what was cut off."""
        self._confirm()
        kept = "" if keep is None else self._path(keep).name
        for path in _entries(self._run.best):
            if path.name != kept:
                shutil.rmtree(path, ignore_errors=True)
        self._ledger.keep("best/", {_entry(keep)} if keep is not None else set())

    def _verify(self) -> None:
        try:
            if self.found is None:
                raise ManifestError("there are none")
            verify_manifest(self._path(self.found.step))
        except ManifestError as error:
            raise VolumeUnusable(
                f"The best weights of this run are not on the output volume as they were written: {error}. "
                f"Delete {self._run.best} and {self._run.checkpoints} to train from the beginning, or change "
                "spec.training.seed."
            ) from error


def _entry(step: int) -> str:
    """Name in the ledger."""
    return f"best/step-{step:06d}"


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []
