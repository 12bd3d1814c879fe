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
    if held is None or made_from is None or held.made_from != made_from or held.revision != revision:
        return None
    return held.summary if _is_intact(run, held) else None


def rows_of(run: RunDirectory, *, made_from: str) -> DatasetSummary | None:
    """What the rows of a directory are, which belong to no run yet, if they are as they were written."""
    document = _document(run)
    if document is None or document.get("details", {}).get("made_from") != made_from:
        return None
    if document["details"].get("row_files") != row_files(run):
        return None
    return DatasetSummary.model_validate(document)


def source_of(run: RunDirectory) -> str | None:
    """What the rows of a directory say that they were made from."""
    return (_document(run) or {}).get("details", {}).get("made_from")


def _document(run: RunDirectory) -> dict[str, Any] | None:
    try:
        document = json.loads(run.dataset_file.read_bytes())
        DatasetSummary.model_validate(document)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def install(run: RunDirectory, staged: RunDirectory, confirm: Callable[[], None]) -> None:
    """Move a complete ``prepared/`` into the run, unless the run holds the same rows of the same model.

    ``confirm`` is called right before the run is changed, and raises when this process may not.
    """
    held, new = _held(run), _held(staged)
    assert new is not None
    same = held is not None and (held.fingerprint, held.revision) == (new.fingerprint, new.revision)
    if held is not None and same and _is_intact(run, held):
        if not run.preview_file.exists():  # an earlier version made none
            confirm()
            shutil.move(staged.preview_file, run.preview_file)
        if held.made_from != new.made_from:  # other files, or other versions, with the same rows in the end
            new.document["details"]["row_files"] = held.row_files
            confirm()
            write_json(run.dataset_file, new.document)
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
    """The files that training reads the run's rows from: name, size and SHA-256 of each."""
    paths = (path for path in (run.train_rows, run.validation_rows) if path.exists())
    return [asdict(manifest.sync_file(run.prepared, path.name)) for path in paths]


def clear_errors(run: RunDirectory) -> None:
    """Forget the bad rows of a prepare that failed before this one."""
    run.errors_file.write_bytes(b"")


def keep_errors(run: RunDirectory, errors: Path) -> None:
    """Leave the bad rows of a prepare that failed where users look for them."""
    if errors.exists():
        run.prepared.mkdir(parents=True, exist_ok=True)
        shutil.move(errors, run.errors_file)


def finished_artifact(run: RunDirectory) -> ArtifactSummary | None:
    """The run's artifact, if it is complete and verified."""
    if not run.adapter.exists() and not run.model.exists():
        return None  # the usual case, which does not wait for torch
    from ..artifact.publish import verified_artifact

    return verified_artifact(run.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """dataset.json and model.json of a run."""

    document: dict[str, Any]
    summary: DatasetSummary
    revision: str

    @property
    def fingerprint(self) -> str:
        return self.summary.fingerprint

    @property
    def made_from(self) -> str | None:
        return self.document.get("details", {}).get("made_from")

    @property
    def row_files(self) -> list[dict[str, Any]]:
        return self.document.get("details", {}).get("row_files", [])


def _held(run: RunDirectory) -> _Held | None:
    """What is there; None where it is not complete."""
    document = _document(run)
    if document is None:
        return None
    try:
        model = ModelSummary.model_validate_json(run.model_file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    summary = DatasetSummary.model_validate(document)
    return _Held(document=document, summary=summary, revision=model.revision)


def _is_intact(run: RunDirectory, held: _Held) -> bool:
    """Whether the rows are on the volume as they were written."""
    return bool(held.row_files) and held.row_files == row_files(run)


def _has_results(run: RunDirectory) -> bool:
    return any(path.exists() for path in (run.checkpoints, run.adapter, run.model, run.metrics_file))


def _set_aside(run: RunDirectory) -> None:
    number = 1
    while (aside := run.root.with_name(f"{run.root.name}.aside-{number}")).exists():
        number += 1
    logger.warning("the data or the model has changed: the earlier run is set aside as %s", aside.name)
    run.root.rename(aside)
    manifest.sync_directory(run.root.parent)
