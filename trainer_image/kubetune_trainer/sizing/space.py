"""Compares what a run writes with what the output volume has free, before a GPU is held."""

from __future__ import annotations

import shutil

from ..contract.errors import VolumeUnusable
from ..contract.layout import RunDirectory
from ..store import unfinished
from ..store.checkpoints import Checkpoints, size_of
from ..store.volumes import MAKE_ROOM

_ARTIFACT_BYTES = 2
"""Bytes of the result per trained weight, at least: what is not trained is not published."""


def check(run: RunDirectory, checkpoints: Checkpoints, *, trained: int, best: bool) -> str | None:
    """A warning when no checkpoint fits beside the result; None when there is room.

    ``best``: the best weights of the run are kept beside it, as large as the result.

    Raises:
        VolumeUnusable: not even the result fits.
    """
    left = sum(size_of(path) for final in (run.adapter, run.model) for path in unfinished.left(final))
    free = shutil.disk_usage(run.root).free + left  # publishing begins with deleting what an attempt left
    artifact = _ARTIFACT_BYTES * trained * (2 if best else 1)
    if free < artifact:
        raise VolumeUnusable(
            f"The output volume has {_size(free)} free, but the result of training needs at least "
            f"{_size(artifact)}: {MAKE_ROOM}."
        )
    checkpoint = checkpoints.needed(Checkpoints.expected_bytes(trained))
    if free + checkpoints.disposable() >= artifact + checkpoint:
        return None
    return (
        f"The output volume has {_size(free)} free, but a checkpoint needs {_size(checkpoint)} beside the "
        f"result: without one a crash would start training anew. To prevent that, {MAKE_ROOM}."
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
