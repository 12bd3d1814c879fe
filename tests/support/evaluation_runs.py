"""Runs of ``evaluate`` as the operator starts them: an artifact and questions, and what was left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubetune_trainer.__main__ import CONFIG_VARIABLE
from kubetune_trainer.contract import evaluation as names
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.layout import OUTPUT_VARIABLE, RunDirectory
from kubetune_trainer.contract.messages import TerminationMessage
from kubetune_trainer.contract.termination import LOG_VARIABLE
from kubetune_trainer.evaluate.asking import PATIENCE_VARIABLE
from kubetune_trainer.scoring.questions import PLAIN, Prompt, Question, write_questions
from kubetune_trainer.scoring.report import Report, ReportRow
from kubetune_trainer.store.lock import BEAT_VARIABLE, GRACE_VARIABLE
from kubetune_trainer.store.manifest import list_files, read_manifest, sync_file, write_manifest
from tests.support.openai_server import Body, OpenAI
from tests.support.trainer_configs import trainer_config

DEADLINE_SECONDS = 120
"""Bound of every wait; a healthy run needs a few seconds."""

COLOURS = ("red", "green", "blue")
TUNED_MODEL, BASE_MODEL = "job", "tiny"


def colour(number: int) -> str:
    """What is expected of a question."""
    return COLOURS[number % len(COLOURS)]


def question(number: int, **fields: Any) -> Question:
    """The question with a number, from 1; the prompts of the baselines have examples."""
    ask = {"role": "user", "content": f"What colour is item {number}?"}
    example = [{"role": "user", "content": "Item x?"}, {"role": "assistant", "content": "red"}]
    prompts = {
        PLAIN: Prompt(messages=(ask,), tokens=8),
        "FewShot": Prompt(messages=(*example, ask), tokens=16),
        "Retrieval": Prompt(messages=(*example, *example, ask), tokens=24),
    }
    values = {"id": str(number), "file": "validation.jsonl", "line": number, "turn": 1}
    return Question(**{**values, "expected": colour(number), "prompts": prompts, **fields})


def general(number: int) -> Question:
    """A question of the set General, with its number."""
    prompt = Prompt(messages=({"role": "user", "content": f"General item {number}?"},), tokens=5)
    values = {"id": f"general-{number}", "set": "General", "file": "general.jsonl"}
    return question(number, **values, prompts={PLAIN: prompt})


def answers(body: Body) -> str:
    """The tuned model is always right; the base at even items with examples, without them at every third."""
    if "messages" not in body:
        return "red"
    asked = body["messages"]
    number = int("".join(filter(str.isdigit, asked[-1]["content"])))
    right = body["model"] == TUNED_MODEL or number % (2 if len(asked) > 1 else 3) == 0
    return colour(number) if right else "none of them"


@dataclass
class EvaluationRun:
    """An output volume with a finished artifact, and the pod's environment."""

    root: Path
    config: TrainerConfig
    server: OpenAI
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def run(self) -> RunDirectory:
        """The run's directory on this volume."""
        return RunDirectory(self.root / "volume" / self.config.name / self.config.run_key)

    @property
    def digest(self) -> str:
        """Of the artifact."""
        return read_manifest(self.run.adapter).digest

    def prepare(self, questions: list[Question]) -> None:
        """Write what prepare and train would have written."""
        self.run.adapter.mkdir(parents=True)
        (self.run.adapter / "adapter_model.safetensors").write_bytes(b"weights")
        details = {"type": "LoRA", "base_model": self.config.model.uri, "base_revision": "0123abc"}
        directory = self.run.adapter
        files = [sync_file(directory, name) for name in list_files(directory)]
        self.server.digest = write_manifest(directory, files, details).digest
        (directory / "README.md").write_text("# job\n")
        self.run.prepared.mkdir()
        self.run.dataset_file.write_text(json.dumps({"train_rows": 40, "details": {"made_from": "x"}}))
        lines = [{"step": step, "loss": 1 / step} for step in range(1, 11)]
        lines.append({"step": 10, "validation_loss": 0.2})
        self.run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.run.evaluation.mkdir()
        write_questions(questions, self.run.questions_file)

    @contextmanager
    def started(self, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start the subcommand; it is killed when the block ends. An empty variable is none."""
        config = self.root / "config.json"
        config.write_text(self.config.model_dump_json())
        self.log.unlink(missing_ok=True)
        own = {
            CONFIG_VARIABLE: str(config),
            OUTPUT_VARIABLE: str(self.root / "volume"),
            LOG_VARIABLE: str(self.log),
            BEAT_VARIABLE: "0.05",
            GRACE_VARIABLE: "0.3",
            PATIENCE_VARIABLE: "60",
            names.CANDIDATE_URL: self.server.url,
            names.CANDIDATE_MODEL: TUNED_MODEL,
            names.BASE_URL: self.server.url,
            names.BASE_MODEL: BASE_MODEL,
            names.ARTIFACT_PATH: self.run.relative(self.run.adapter),
            names.ARTIFACT_DIGEST: self.digest,
            **self.environment,
            **environment,
        }
        own = {name: value for name, value in own.items() if value}
        with subprocess.Popen(
            [sys.executable, "-m", "kubetune_trainer", "evaluate"],
            env={**os.environ, **own},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def evaluate(self, **environment: str) -> TerminationMessage:
        """Run the subcommand to its end, and return what it tells the operator."""
        with self.started(**environment) as process:
            _, self.stderr = process.communicate(timeout=DEADLINE_SECONDS)
        self.code = process.returncode
        return self.message()

    @property
    def log(self) -> Path:
        """The termination log."""
        return self.root / "termination-log"

    def message(self) -> TerminationMessage:
        """What the last run told the operator."""
        return TerminationMessage.model_validate_json(self.log.read_text())

    def report(self) -> Report:
        """report.json."""
        return Report.model_validate_json(self.run.report_file.read_text())

    def rows(self) -> list[ReportRow]:
        """rows.jsonl."""
        return [ReportRow.model_validate_json(line) for line in self.run.rows_file.read_text().splitlines()]


def evaluation_run(
    root: Path,
    server: OpenAI,
    questions: list[Question] | None = None,
    *,
    job: dict[str, Any] | None = None,
    **evaluation: Any,
) -> EvaluationRun:
    """A run that is ready to be evaluated; ``evaluation`` overrides fields of EvaluationConfig."""
    files = {"train": "pvc://data/train.jsonl", "validation": "pvc://data/validation.jsonl"}
    config = trainer_config(
        model="hf://org/tiny",
        **(files if job is None else job),
        evaluation={
            "metrics": [{"name": "ExactMatch", "type": "ExactMatch"}],
            "baselines": [{"type": "Base"}],
            "generation": {"max_tokens": 16},
            **evaluation,
        },
    )
    run = EvaluationRun(root, config, server)
    run.prepare(questions or [question(number) for number in range(1, 21)])
    return run
