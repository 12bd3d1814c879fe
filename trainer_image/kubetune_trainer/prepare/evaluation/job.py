"""The questions of a job: those that its run has already, or new ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...base.architecture import Architecture
from ...contract.config import TrainerConfig
from ...contract.layout import RunDirectory
from ...contract.messages import DatasetSummary, ModelSummary
from ...store.manifest import read_manifest
from .. import adoption
from ..reading import Reading
from ..staging import Data
from . import files
from .files import Evaluation
from .given import Sources
from .stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What prepare knows when it comes to the evaluation."""

    config: TrainerConfig
    data: Data
    """Sources of the job's rows."""
    own: Sources
    """Sources of the evaluation's own."""
    model: ModelSummary
    kind: Architecture
    prepared: RunDirectory
    """Where the job's rows are."""
    rows: DatasetSummary
    adopted: Path | None = None
    """An artifact with tokenizer and chat template of its own, by which it is served, and its base too."""

    @property
    def context(self) -> int | None:
        """Tokens that the server holds: what the spec says, and no more than the model was made for."""
        serving = self.config.serving
        limits = (serving.max_model_len if serving else None, self.kind.context)
        return min((limit for limit in limits if limit), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Questions, and where they are until they are installed."""

    evaluation: Evaluation
    staged: RunDirectory | None
    """None where the run has them."""

    def install(self, run: RunDirectory, confirm: Callable[[], None]) -> None:
        """Move new questions into the run; ``confirm`` raises when this process may not."""
        if self.staged is not None:
            files.install(run, self.staged, confirm)


def questions(job: Job, run: RunDirectory, *, scratch: Path) -> Questions:
    """Find the questions of the run, or make new ones in ``scratch``.

    Raises:
        DataInvalid: rows or files cannot be used; all bad rows are in ``errors.jsonl`` of ``scratch``.
        InvalidInput: nothing can be asked, or too little for the gate.
    """
    config, evaluation = job.config, job.config.evaluation
    assert evaluation is not None
    rows = adoption.source_of(job.prepared) if job.data else ""
    texts = None if job.adopted is None else read_manifest(job.adopted).digest
    source = files.made_from(config, job.own, rows=rows, context=job.context, texts=texts)
    if job.prepared == run and (kept := files.kept(run, source)) is not None:
        return Questions(evaluation=kept, staged=None)
    stage = Stage(
        config=config,
        evaluation=evaluation,
        sources={**job.data, **job.own},
        prepared=job.prepared,
        rows=job.rows,
        reading=Reading.of(config, job.model, job.kind, texts=job.adopted),
        scratch=scratch,
        context=job.context,
    )
    made = stage.write()
    staged = RunDirectory(scratch)
    # A file that changed while it was read says nothing about the questions.
    same = source == files.made_from(config, job.own, rows=rows, context=job.context, texts=texts)
    files.write(staged, made, source if same else None)
    return Questions(evaluation=made, staged=staged)
