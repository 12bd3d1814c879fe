"""Runs ``prepare`` by the pod's entry point, below a temporary directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer import __main__ as entry
from kubetune_trainer.contract import termination
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE, RunDirectory
from kubetune_trainer.contract.messages import ExitCode, PrepareSummary, TerminationMessage
from kubetune_trainer.data.row_files import RowFile
from tests.support.tiny_model import chat_row
from tests.support.trainer_configs import trainer_config


class Prepared:
    """What one ``prepare`` left."""

    def __init__(self, code: int, message: TerminationMessage, run: RunDirectory) -> None:
        self.code = code
        self.message = message
        self.run = run

    @property
    def summary(self) -> PrepareSummary:
        assert self.code == ExitCode.COMPLETED, self.message
        return PrepareSummary.model_validate(self.message.summary)

    def rows(self, split: str = "train") -> list[dict[str, Any]]:
        rows = RowFile(self.run.prepared / f"{split}.arrow")
        columns = ({name: column.tolist() for name, column in rows[n].items()} for n in range(len(rows)))
        return [{**row, "length": length} for row, length in zip(columns, rows.lengths, strict=True)]


Prepare = Callable[..., Prepared]


def preparing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """A function that runs ``prepare`` with the fields of ``trainer_config``."""
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path / "output"))
    monkeypatch.setenv(termination.LOG_VARIABLE, str(tmp_path / "log"))
    monkeypatch.setenv(entry.CONFIG_VARIABLE, str(tmp_path / "config.json"))

    def run(**fields: Any) -> Prepared:
        config = trainer_config(**fields)
        (tmp_path / "config.json").write_text(config.model_dump_json())
        code = entry.main(["prepare"])
        message = TerminationMessage.model_validate_json((tmp_path / "log").read_text())
        for left in (".prepare-*", ".lock*"):
            assert not list((tmp_path / "output").rglob(left)), "no temporary files stay"
        return Prepared(code, message, RunDirectory.of(config))

    return run


def write(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines))
    return path


def pairs(count: int, *, start: int = 0) -> list[str]:
    """Lines of chats of one question and one of seven answers."""
    return [chat_row(f"q{index:03}", f"a{index % 7}") for index in range(start, start + count)]
