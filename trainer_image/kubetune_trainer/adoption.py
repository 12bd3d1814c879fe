"""Puts the prepared data into the run's directory, or finds that the directory already holds the same.

The same rows and model: what is there stays, so that training goes on or its artifact is adopted.
Different ones under the same run key (a file or branch has changed): the old directory is set aside, never
mixed or deleted.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

from . import manifest
from .layout import RunDirectory
from .messages import ArtifactSummary

logger = logging.getLogger(__name__)


def install(run: RunDirectory, staged: Path, *, fingerprint: str, revision: str) -> bool:
    """Move a complete ``prepared/`` into the run; True when the run already held the same one."""
    held = _held(run)
    same = held == (fingerprint, revision)
    if same and _files(staged) <= _files(run.prepared):
        shutil.rmtree(staged)
        run.errors_file.write_bytes(b"")  # of a prepare that failed since
        return True
    if not same and (held is not None or _has_results(run)):
        _set_aside(run)
    elif run.prepared.exists():  # it lost files, or holds only the errors.jsonl of a prepare that failed
        shutil.rmtree(run.prepared)
    run.root.mkdir(parents=True, exist_ok=True)
    for path in sorted(staged.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            manifest.sync_directory(path)
    manifest.sync_directory(staged)
    staged.rename(run.prepared)
    manifest.sync_directory(run.root)
    manifest.sync_directory(run.root.parent)
    return False


def keep_errors(run: RunDirectory, errors: Path) -> None:
    """Leave the bad rows of a prepare that failed where users look for them."""
    if errors.exists():
        run.prepared.mkdir(parents=True, exist_ok=True)
        shutil.move(errors, run.errors_file)


def finished_artifact(run: RunDirectory) -> ArtifactSummary | None:
    """The run's artifact, if it is complete and verified."""
    if not run.adapter.exists() and not run.model.exists():
        return None  # the usual case, which does not wait for torch
    from .publish import verified_artifact

    return verified_artifact(run.root)


def _held(run: RunDirectory) -> tuple[str, str] | None:
    """Fingerprint and model revision of what is there."""
    try:
        dataset = json.loads(run.dataset_file.read_bytes())
        model = json.loads(run.model_file.read_bytes())
        return str(dataset["fingerprint"]), str(model["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(directory: Path) -> set[tuple[str, int]]:
    """Names and sizes of the files that training reads."""
    return {
        (path.relative_to(directory).as_posix(), path.stat().st_size)
        for path in directory.rglob("*.arrow")
        if path.is_file()
    }


def _has_results(run: RunDirectory) -> bool:
    return any(path.exists() for path in (run.checkpoints, run.adapter, run.model, run.metrics_file))


def _set_aside(run: RunDirectory) -> None:
    number = 1
    while (aside := run.root.with_name(f"{run.root.name}.aside-{number}")).exists():
        number += 1
    logger.warning("the data or the model has changed: the earlier run is set aside as %s", aside.name)
    run.root.rename(aside)
    manifest.sync_directory(run.root.parent)
