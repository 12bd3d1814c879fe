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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..contract.layout import RunDirectory
from ..contract.messages import ArtifactSummary, DatasetSummary, ModelSummary
from ..store import manifest
from ..store.manifest import write_json as write_json

logger = logging.getLogger(__name__)


def held_rows(run: RunDirectory, *, made_from: str | None, revision: str) -> DatasetSummary | None:
    """What the run's rows are, if they were made from the same and are as they were written; else None."""
    held = _held(run)
    if held is None or held.revision != revision:
        return None
    return rows_of(run, made_from=made_from)


def rows_of(run: RunDirectory, *, made_from: str | None) -> DatasetSummary | None:
    """What the rows of a directory are, be it a run's or not, under the same conditions; else None."""
    rows = _rows(run)
    if rows is None or made_from is None or rows.made_from != made_from:
        return None
    return rows.summary if _is_intact(run, rows) else None


def source_of(run: RunDirectory) -> str | None:
    """What the rows of a directory say that they were made from."""
    rows = _rows(run)
    return rows.made_from if rows else None


def install(run: RunDirectory, staged: RunDirectory, confirm: Callable[[], None]) -> None:
    """Move a complete ``prepared/`` into the run, unless the run holds the same rows of the same model.

    ``confirm`` is called right before the run is changed, and raises when this process may not.
    """
    held, new = _held(run), _held(staged)
    assert new is not None
    same = held is not None and _identity(held) == _identity(new)
    if held is not None and same and _is_intact(run, held.rows):
        if not run.preview_file.exists():  # an earlier version made none
            confirm()
            shutil.move(staged.preview_file, run.preview_file)
        if held.rows.made_from != new.rows.made_from:  # other files or versions, with the same rows
            document = new.rows.document
            confirm()
            for path, made in (
                (run.leaks_file, staged.leaks_file),
                (run.validation_lines_file, staged.validation_lines_file),
            ):
                path.unlink(missing_ok=True)
                if made.exists():
                    shutil.move(made, path)
            document["details"]["row_files"] = row_files(run)
            write_json(run.dataset_file, document)
        return
    for path in sorted(staged.prepared.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            manifest.sync_directory(path)
    manifest.sync_directory(staged.prepared)
    confirm()
    if not same and (held is not None or _has_results(run)):
        _set_aside(run)
    elif run.prepared.exists():  # it lost files, or holds only the errors.jsonl of a prepare that failed
        shutil.rmtree(run.prepared)
    run.root.mkdir(parents=True, exist_ok=True)
    staged.prepared.rename(run.prepared)
    manifest.sync_directory(run.root)
    manifest.sync_directory(run.root.parent)


def row_files(run: RunDirectory) -> list[dict[str, Any]]:
    """The files of the run's rows, and of where they stand: name, size and SHA-256 of each."""
    paths = (
        path for path in (run.train_rows, run.validation_rows, run.validation_lines_file) if path.exists()
    )
    return [asdict(manifest.sync_file(run.prepared, path.name)) for path in paths]


def clear_errors(run: RunDirectory) -> None:
    """Forget the bad rows of a prepare that failed before this one."""
    run.errors_file.write_bytes(b"")


def keep_errors(run: RunDirectory, errors: Path) -> None:
    """Leave the bad rows of a prepare that failed where users look for them."""
    if errors.exists():
        run.prepared.mkdir(parents=True, exist_ok=True)
        shutil.move(errors, run.errors_file)


def finished_artifact(run: RunDirectory, *, keep_epochs: int) -> ArtifactSummary | None:
    """The run's artifact, if it is complete and verified, with as many adapters of earlier epochs."""
    if not run.adapter.exists() and not run.model.exists():
        return None  # the usual case, which does not wait for torch
    from ..artifact.publish import verified_artifact

    return verified_artifact(run.root, keep_epochs=keep_epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """dataset.json: what rows are, and what they were made from."""

    document: dict[str, Any]
    summary: DatasetSummary

    @property
    def made_from(self) -> str | None:
        return self.document.get("details", {}).get("made_from")

    @property
    def row_files(self) -> list[dict[str, Any]]:
        return self.document.get("details", {}).get("row_files", [])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """dataset.json and model.json of a run."""

    rows: _Rows
    revision: str


def _rows(run: RunDirectory) -> _Rows | None:
    """What is there; None where it is not complete."""
    try:
        document = json.loads(run.dataset_file.read_bytes())
        return _Rows(document=document, summary=DatasetSummary.model_validate(document))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _held(run: RunDirectory) -> _Held | None:
    """What is there; None where it is not complete."""
    if (rows := _rows(run)) is None:
        return None
    try:
        model = ModelSummary.model_validate_json(run.model_file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return _Held(rows=rows, revision=model.revision)


def _identity(held: _Held) -> tuple[str, str]:
    return held.rows.summary.fingerprint, held.revision


def _is_intact(run: RunDirectory, rows: _Rows) -> bool:
    """Whether the rows are on the volume as they were written."""
    return bool(rows.row_files) and rows.row_files == row_files(run)


def _has_results(run: RunDirectory) -> bool:
    return any(path.exists() for path in (run.checkpoints, run.adapter, run.model, run.metrics_file))


def _set_aside(run: RunDirectory) -> None:
    number = 1
    while (aside := run.root.with_name(f"{run.root.name}.aside-{number}")).exists():
        number += 1
    logger.warning("the data or the model has changed: the earlier run is set aside as %s", aside.name)
    run.root.rename(aside)
    manifest.sync_directory(run.root.parent)
