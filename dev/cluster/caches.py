"""Deletes the caches: built programs, images, models and what the local S3 endpoint holds."""

import shutil
from pathlib import Path

from dev import paths, progress, shell
from dev.cluster import leftovers
from dev.errors import DevError

_GB = 1e9


class CachesError(DevError):
    """Caches that something uses."""


def clean_caches() -> None:
    """Delete the folder of all caches, and say how much that was."""
    if found := next(leftovers.report(), None):
        raise CachesError(f"The local cluster is still here ({found}): run make clean-cluster first.")
    folder = paths.cache()
    if not folder.exists():
        progress.note(f"There are no caches: {folder} does not exist.")
        return
    with progress.step(f"Delete {folder}"):
        for point in leftovers.mounts(folder):  # a killed build's
            shell.output(["umount", "--lazy", point])
        size = _size(folder)
        shutil.rmtree(folder)
    progress.note(f"   {size / _GB:.1f} GB are free again. The caches of uv and Go are others' too and stay.")


def _size(folder: Path) -> int:
    """Return how many bytes of the disk a folder takes."""
    return int(shell.output(["du", "-s", "--block-size=1", folder]).split()[0])
