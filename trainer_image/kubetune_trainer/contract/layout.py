"""Paths on the output volume: a run's directory, and the models that jobs share.

Pure paths: nothing here reads or writes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .config import EPOCHS, OUTPUT_MOUNT, TrainerConfig, model_directory

OUTPUT_VARIABLE = "KUBETUNE_OUTPUT"
"""Environment variable that names another root than OUTPUT_MOUNT (tests, runs outside Kubernetes)."""


def output_root() -> Path:
    """Where the output volume is."""
    return Path(os.environ.get(OUTPUT_VARIABLE, OUTPUT_MOUNT))


def on_volume(path: PurePosixPath) -> Path:
    """Where a path below OUTPUT_MOUNT is here."""
    return output_root() / path.relative_to(OUTPUT_MOUNT)


def model_path(uri: str, revision: str) -> Path:
    """Directory of a fetched model."""
    return on_volume(model_directory(uri, revision))


def shared_rows(source: str) -> Path:
    """Directory of rows that jobs share; ``source`` is the digest of what they were made from."""
    return output_root() / "rows" / source.rpartition(":")[2]


@dataclass(slots=True, frozen=True)
class RunDirectory:
    """``<volume>/<job name>/<run key>``: everything that one run reads and writes."""

    root: Path

    @classmethod
    def of(cls, config: TrainerConfig) -> RunDirectory:
        """Directory of the job's run; it need not exist."""
        return cls(on_volume(config.run_directory))

    @property
    def prepared(self) -> Path:
        """What prepare makes."""
        return self.root / "prepared"

    @property
    def train_rows(self) -> Path:
        """Tokenised training rows, in the format of ``row_files``."""
        return self.prepared / "train.arrow"

    @property
    def validation_rows(self) -> Path:
        """Tokenised validation rows; missing when there are none."""
        return self.prepared / "validation.arrow"

    @property
    def dataset_file(self) -> Path:
        """DatasetSummary as JSON, with details; its presence says that prepare has finished."""
        return self.prepared / "dataset.json"

    @property
    def model_file(self) -> Path:
        """ModelSummary as JSON."""
        return self.prepared / "model.json"

    @property
    def errors_file(self) -> Path:
        """Every bad row, one JSON object per line."""
        return self.prepared / "errors.jsonl"

    @property
    def leaks_file(self) -> Path:
        """Validation rows that are like training rows, one JSON object per line; missing without any."""
        return self.prepared / "leaks.jsonl"

    @property
    def validation_lines_file(self) -> Path:
        """Where the validation rows stand, as JSON: line numbers by file; missing without such rows."""
        return self.prepared / "validation_lines.json"

    @property
    def preview_file(self) -> Path:
        """A page of HTML that shows some rows as training reads them."""
        return self.prepared / "preview.html"

    @property
    def evaluation(self) -> Path:
        """What the result is asked, what was answered, and the report."""
        return self.root / "evaluation"

    @property
    def questions_file(self) -> Path:
        """What every candidate is asked, one ``scoring.questions.Question`` per line; prepare writes it."""
        return self.evaluation / "questions.jsonl"

    @property
    def asked_file(self) -> Path:
        """What the questions were made from, and the plan, as JSON; its presence says that they are whole."""
        return self.evaluation / "questions.json"

    @property
    def evaluation_leaks_file(self) -> Path:
        """Rows asked about that are like training rows, as in ``leaks_file``; missing without any."""
        return self.evaluation / "leaks.jsonl"

    @property
    def answers_file(self) -> Path:
        """Every answer as it came, one JSON object per line."""
        return self.evaluation / "answers.jsonl"

    @property
    def grades_file(self) -> Path:
        """Every grade of a judge as it came, one JSON object per line."""
        return self.evaluation / "grades.jsonl"

    @property
    def report_file(self) -> Path:
        """``scoring.report.Report`` as JSON."""
        return self.evaluation / "report.json"

    @property
    def rows_file(self) -> Path:
        """Prompt, expected answer, and each candidate's answer and scores, one JSON object per line."""
        return self.evaluation / "rows.jsonl"

    @property
    def report_page(self) -> Path:
        """The report as one page of HTML."""
        return self.evaluation / "report.html"

    @property
    def passes_file(self) -> Path:
        """How many tokens a forward pass has."""
        return self.root / "passes.json"

    @property
    def checkpoints(self) -> Path:
        """Verified checkpoints."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """The best weights so far, where they are chosen."""
        return self.root / "best"

    @property
    def epochs(self) -> Path:
        """Adapters at the ends of epochs, where they are kept."""
        return self.root / EPOCHS

    @property
    def adapter(self) -> Path:
        """The LoRA artifact."""
        return self.root / "adapter"

    @property
    def model(self) -> Path:
        """The artifact of a full fine-tune."""
        return self.root / "model"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per logged step."""
        return self.root / "metrics.jsonl"

    @property
    def results_file(self) -> Path:
        """OpenAI's results.csv: losses and accuracies by step."""
        return self.root / "results.csv"

    def relative(self, path: Path) -> str:
        """``<job>/<run key>/...``: how the operator names a path on the volume."""
        return path.relative_to(self.root.parent.parent).as_posix()
