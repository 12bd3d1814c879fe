"""Files of an evaluation that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ..artifact import evaluation_card
from ..contract.layout import RunDirectory
from ..scoring.report import Report, ReportRow
from ..store.manifest import replace_file, write_json
from .page import page


def write_rows(run: RunDirectory, rows: Iterator[ReportRow]) -> None:
    """Write rows.jsonl.

    Raises:
        OSError: the volume is full, or failed; the file is as it was.
    """
    _write(run.rows_file, "".join(row.model_dump_json() + "\n" for row in rows))


def publish(run: RunDirectory, artifact: Path, report: Report, confirm: Callable[[], None]) -> None:
    """Write the page and the model card of an artifact, and then report.json: who reads it has the others.

    ``confirm`` says that the run's directory is this process's.

    Raises:
        OSError: the volume is full, or failed.
    """
    text = "".join(page(report, _rows(run)))
    confirm()
    _write(run.report_page, text)
    evaluation_card.install(artifact, report)
    write_json(run.report_file, report.model_dump(mode="json"))


def read_report(run: RunDirectory) -> Report | None:
    """The report of an evaluation that was completed; None where there is none of this version."""
    try:
        return Report.model_validate_json(run.report_file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _rows(run: RunDirectory) -> Iterator[ReportRow]:
    with run.rows_file.open(encoding="utf-8") as file:
        for line in file:
            yield ReportRow.model_validate_json(line)


def _write(path: Path, text: str) -> None:
    replace_file(path, text, path.with_name(f".{path.name}.tmp"))
