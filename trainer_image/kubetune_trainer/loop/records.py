"""metrics.jsonl and results.csv: what a run reported at each step, across its attempts.

A resumed attempt repeats the steps after its checkpoint; their earlier lines are dropped first. While the
volume is full lines wait for room: training goes on without a checkpoint then, and so without them too.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from ..contract.layout import RunDirectory
from ..store import volumes
from .measured import MeasuredSteps

logger = logging.getLogger(__name__)

_COLUMNS = {
    "step": "step",
    "train_loss": "loss",
    "train_accuracy": "mean_token_accuracy",
    "valid_loss": "validation_loss",
    "valid_mean_token_accuracy": "validation_mean_token_accuracy",
    "full_valid_loss": "full_validation_loss",
    "full_valid_mean_token_accuracy": "full_validation_mean_token_accuracy",
}
"""Columns of results.csv (OpenAI's names), and the keys that they come from: valid_* are of one sample of the
validation rows at every step, full_* of all of them."""


class Records:
    """The files, opened for one attempt that begins after ``from_step``."""

    def __init__(self, run: RunDirectory, measured: MeasuredSteps, *, from_step: int) -> None:
        """``measured`` is told every line, those of earlier attempts first."""
        self._results = run.results_file
        self._measured = measured
        self._lines = [line for line in read(run.metrics_file) if line["step"] <= from_step]
        for line in self._lines:
            # an earlier version has told no times: they were before the file's
            measured.add({"time": int(run.metrics_file.stat().st_mtime), **line})
        _replace(run.metrics_file, "".join(json.dumps(line) + "\n" for line in self._lines))
        self._file = run.metrics_file.open("ab", buffering=0)
        self._waiting = b""

    def add(self, **values: Any) -> None:
        """Append one line, with the time in Unix seconds; ``step`` is required."""
        line = {**values, "time": int(time.time())}
        self._lines.append(line)
        self._measured.add(line)
        had_room = not self._waiting
        self._waiting += json.dumps(line).encode() + b"\n"
        try:
            self._write()
        except OSError as error:
            self._pass_over(error, quiet=not had_room)

    def save(self) -> None:
        """Make metrics.jsonl durable and write results.csv anew, as far as there is room."""
        try:
            self.finish()
        except OSError as error:
            self._pass_over(error)

    def finish(self) -> None:
        """Make metrics.jsonl durable and write results.csv for the last time.

        Raises:
            OSError: the volume does not take them.
        """
        self._write()
        os.fsync(self._file.fileno())
        _replace(self._results, self._table())

    def _write(self) -> None:
        while self._waiting:  # a volume that fills up takes a part of it
            written = self._file.write(self._waiting)
            self._waiting = self._waiting[written:]

    def _pass_over(self, error: OSError, *, quiet: bool = False) -> None:
        if not volumes.is_full(error):
            raise error
        if not quiet:
            logger.warning("The output volume is full: metrics.jsonl and results.csv wait for room")

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def first(self, key: str) -> float | None:
        """The first value that was reported under a key."""
        return next((line[key] for line in self._lines if key in line), None)

    def last(self, key: str, *, until: int | None = None) -> float | None:
        """The value under a key of the latest step that has one, up to ``until``."""
        found = [line for line in self._lines if key in line and (until is None or line["step"] <= until)]
        return max(found, key=lambda line: line["step"])[key] if found else None

    def steps(self) -> list[tuple[int, float, float | None]]:
        """Step, loss and the gradient's norm, if it was told, of every step."""
        return [(line["step"], line["loss"], line.get("grad_norm")) for line in self._lines if "loss" in line]

    def _table(self) -> str:
        rows: dict[int, dict[str, Any]] = {}
        for line in self._lines:
            rows.setdefault(line["step"], {}).update(line)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for _, row in sorted(rows.items()):
            writer.writerow([row.get(key, "") for key in _COLUMNS.values()])
        return text.getvalue()


def read(path: Path) -> list[dict[str, Any]]:
    """Whole lines of the file; one that a killed attempt left half written is dropped."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict) and isinstance(line.get("step"), int)]


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
