"""Compares what a run writes with what the output volume has free, before a GPU is held."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

from ..contract.errors import VolumeUnusable
from ..contract.layout import RunDirectory
from ..store import unfinished
from ..store.checkpoints import Checkpoints, size_of
from ..store.volumes import make_room

_ARTIFACT_BYTES = 2
"""Bytes of the result per trained weight, at least: what is not trained is not published."""

_GIB = 1 << 30
_MARGIN = 1.1
"""On top of what is named as enough: what a file system takes for itself, logs and results."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Space:
    """Bytes on the output volume, and what a run will write there."""

    used: int
    """What stays: without what the run can delete."""
    free: int
    """For the result, whose writing begins with deleting what an attempt left."""
    disposable: int
    """What a save can delete for more room."""
    result: int
    checkpoint: int
    """What must be free for the next one."""
    before: int
    """What the one before it takes, that is kept meanwhile: 0 if it lies there already."""
    has_one: bool
    """Whether a checkpoint lies there already."""


def check(run: RunDirectory, checkpoints: Checkpoints, *, trained: int, copies: int) -> str | None:
    """A warning unless the result and two checkpoints fit: one is kept while the next is written.

    ``copies``: how often there are weights as large as the result, with those that are kept beside it.

    Raises:
        VolumeUnusable: not even the result fits.
    """
    left = sum(size_of(path) for final in (run.adapter, run.model) for path in unfinished.left(final))
    usage = shutil.disk_usage(run.root)
    expected, has_one = Checkpoints.expected_bytes(trained), checkpoints.newest_bytes() > 0
    disposable = checkpoints.disposable()
    return judge(
        Space(
            used=usage.used - left - disposable,
            free=usage.free + left,
            disposable=disposable,
            result=_ARTIFACT_BYTES * trained * copies,
            checkpoint=checkpoints.needed(expected),
            before=0 if has_one else expected,
            has_one=has_one,
        )
    )


def judge(space: Space) -> str | None:
    """As ``check``, from the numbers alone."""
    enough = _MARGIN * (space.used + space.result + space.checkpoint + space.before)
    advice = make_room(f"{math.ceil(enough / _GIB)}Gi")
    free = f"The output volume has {_size(space.free)} free, but"
    if space.free < space.result:
        raise VolumeUnusable(f"{free} the result of training needs at least {_size(space.result)}: {advice}.")
    room = space.free + space.disposable - space.result - space.checkpoint
    if room >= space.before:
        return None
    needs = f"{free} a checkpoint needs {_size(space.checkpoint)} beside the result"
    if room >= 0:
        lost = f", and the one before it {_size(space.before)}: a crash would lose all that follows the first"
    elif space.has_one:
        lost = ": a crash would lose all that follows the one that is there"
    else:
        lost = ": without one a crash would start training anew"
    return f"{needs}{lost}. To prevent that, {advice}."


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
