"""Tokenised rows that jobs on one volume share: ``rows/<digest of data and tokenizer>`` beside ``models``.

Its files are linked into each run that reads the same: nothing is tokenised twice, and nothing is copied.
They are never written to again. Where a file system has no hard links, each run has its own files.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

from ..contract.layout import RunDirectory, shared_rows
from ..contract.messages import DatasetSummary
from ..store import manifest, unfinished
from . import adoption

logger = logging.getLogger(__name__)

_RUN = RunDirectory(Path())
_ALWAYS = {_RUN.train_rows.name, _RUN.dataset_file.name}
_SOMETIMES = (_RUN.validation_rows, _RUN.validation_lines_file, _RUN.preview_file, _RUN.leaks_file)
_NAMES = sorted({*_ALWAYS, *(path.name for path in _SOMETIMES)})

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY}


def take(source: str | None, staged: RunDirectory) -> DatasetSummary | None:
    """Link the rows that were made from ``source`` into ``prepared/``; None if there are no whole ones."""
    if source is None or not (directory := shared_rows(source)).is_dir():
        return None
    rows: DatasetSummary | None = None
    try:
        _link(directory, staged.prepared)
        rows = adoption.rows_of(staged, made_from=source)
    except OSError as error:
        if error.errno not in _NO_LINKS | {errno.ENOENT}:
            raise
    if rows is None:
        logger.warning("%s is not as it was written: the rows are tokenised again", directory)
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(staged.prepared, ignore_errors=True)
    return rows


def keep(staged: RunDirectory) -> None:
    """Let other jobs have the rows in ``prepared/``, if it is known what they were made from."""
    source = adoption.source_of(staged)
    if source is None or (directory := shared_rows(source)).exists():
        return
    for left in unfinished.left(directory):
        shutil.rmtree(left, ignore_errors=True)
    written = unfinished.beside(directory)
    try:
        written.parent.mkdir(parents=True, exist_ok=True)
        _link(staged.prepared, written)
        manifest.sync_directory(written)
        written.rename(directory)
        manifest.sync_directory(directory.parent)
    except OSError as error:
        shutil.rmtree(written, ignore_errors=True)
        # Another job was faster, or has tidied up; or the volume has no links.
        if error.errno not in _NO_LINKS | _TAKEN | {errno.ENOENT}:
            raise


def _link(one: Path, other: Path) -> None:
    """Link what does not depend on the job, of one ``prepared/`` into another."""
    other.mkdir(parents=True)
    for name in _NAMES:
        if name in _ALWAYS or (one / name).exists():
            os.link(one / name, other / name)
