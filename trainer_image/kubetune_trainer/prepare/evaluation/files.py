"""The files of a run's questions: whether they are still those of the job, and how they come into the run.

What was answered stays whatever is asked: the evaluator knows an answer by what was asked. A report stays as
long as the questions are the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...contract.config import TrainerConfig, digest_of
from ...contract.evaluation import EvaluationPlan
from ...contract.layout import RunDirectory
from ...sources.source import DataSource, Role
from ...store import manifest

QUESTIONS_VERSION = 1
"""Raised when the same rows yield other questions or prompts."""

_LIBRARIES = ("bm25s", "jinja2", "numpy", "tokenizers", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What prepare says of an evaluation."""

    plan: EvaluationPlan
    warnings: tuple[str, ...]


def made_from(
    config: TrainerConfig,
    sources: Mapping[Role, DataSource],
    *,
    rows: str | None,
    context: int | None,
    texts: str | None = None,
) -> str | None:
    """Digest of everything that decides what is asked; None when it cannot be told.

    ``rows`` is that of the job's rows, ``context`` what the server holds, ``texts`` the artifact whose chat
    template the server has, where that is not trained here. Remote files are known by their
    etags, so that nothing is fetched.
    """
    contents = {role: [asdict(file) for file in source.contents()] for role, source in sources.items()}
    if rows is None or not all(file["etag"] for files in contents.values() for file in files):
        return None
    evaluation, training, serving = config.evaluation, config.training, config.serving
    assert evaluation is not None
    made_by: dict[str, Any] = {
        "version": QUESTIONS_VERSION,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "rows": rows,
        "contents": contents,
        "context": context,
        "texts": texts,
        "calls": serving is not None and serving.tool_call_parser,
        "seed": training.seed,
        "evaluation": evaluation.model_dump(mode="json"),
        "training": [training.epochs, training.max_steps, training.batch_size],
    }
    return f"sha256:{digest_of(made_by)}"


def kept(run: RunDirectory, source: str | None) -> Evaluation | None:
    """What is there, if it was made from the same and is as it was written; else None."""
    try:
        document = json.loads(run.asked_file.read_bytes())
        if source is None or document["made_from"] != source or document["files"] != _files(run):
            return None
        plan = EvaluationPlan.model_validate(document["plan"])
        return Evaluation(plan=plan, warnings=tuple(document["warnings"]))
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
        return None


def write(staged: RunDirectory, evaluation: Evaluation, source: str | None) -> None:
    """Write what the staged questions were made from, beside them."""
    document = {
        "made_from": source,
        "plan": evaluation.plan.model_dump(mode="json"),
        "warnings": evaluation.warnings,
        "files": _files(staged),
    }
    manifest.write_json(staged.asked_file, document)


def install(run: RunDirectory, staged: RunDirectory, confirm: Callable[[], None]) -> None:
    """Move staged questions into the run; ``confirm`` raises when this process may not.

    A report of other questions is removed.
    """
    confirm()
    run.evaluation.mkdir(parents=True, exist_ok=True)
    run.asked_file.unlink(missing_ok=True)
    if _content(run.questions_file) != _content(staged.questions_file):
        for path in (run.report_file, run.rows_file, run.report_page):
            path.unlink(missing_ok=True)
    run.evaluation_leaks_file.unlink(missing_ok=True)
    for path in sorted(staged.evaluation.iterdir(), key=lambda path: path.name == staged.asked_file.name):
        shutil.move(path, run.evaluation / path.name)  # asked_file comes last
    manifest.sync_directory(run.evaluation)
    manifest.sync_directory(run.root)


def _files(run: RunDirectory) -> list[dict[str, Any]]:
    paths = (path for path in (run.questions_file, run.evaluation_leaks_file) if path.exists())
    return [asdict(manifest.sync_file(run.evaluation, path.name)) for path in paths]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
