"""``prepare``: everything that can fail before a GPU is held, from top to bottom.

Pins the model, checks and tokenises the data, estimates the run, and leaves ``prepared/`` in its directory.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from ..contract import termination
from ..contract.config import TrainerConfig
from ..contract.errors import DataInvalid, InvalidInput
from ..contract.layout import RunDirectory
from ..contract.messages import ExitCode, ModelSummary, PrepareSummary
from ..sizing import estimate, space
from ..sources.locate import locate_data
from ..sources.source import DataSource, Role
from ..store import passes
from ..store.checkpoints import Checkpoints, Layout
from . import adoption

logger = logging.getLogger(__name__)

_SCRATCH = ".prepare-"


def main(config: TrainerConfig, confirm: Callable[[], None]) -> int:
    """Prepare a run and write the termination message; ``confirm`` says that the directory is locked."""
    run = RunDirectory.of(config)
    # Left by a pod that was killed: who holds the lock is alone.
    for left in run.root.parent.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=run.root.parent))
    try:
        summary = prepare(config, run, scratch, confirm)
    except DataInvalid:
        confirm()
        adoption.keep_errors(run, scratch / run.errors_file.name)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    message = sentence(config, summary)
    logger.info("%s", message)
    termination.write(termination.completed(message, summary))
    return ExitCode.COMPLETED


def prepare(
    config: TrainerConfig, run: RunDirectory, scratch: Path, confirm: Callable[[], None]
) -> PrepareSummary:
    """Check everything, and install ``prepared/``."""
    _require_consistent(config)
    estimate.require_batch(config)

    from ..base import architecture, fetch
    from ..base.digest import directory_digest
    from ..sizing import serving
    from . import dataset, leaks, shared, staging, warnings
    from .evaluation import given
    from .evaluation import job as evaluating

    given.require_consistent(config)

    found, data, own = fetch.find_model(config), _locate(config), given.locate(config)
    if not found.present:
        if data:
            staging.check(config, data, scratch=scratch)
        given.check(config, own, scratch=scratch)
        described = architecture.describe(found.fetch_config(scratch / "model"), config.model.uri)
        if config.adopt is None:
            architecture.trainable(described, config.training.adapter, config.model.uri)
        serving.serving_gpus(config, described)
    pinned = found.fetch()
    kind = architecture.inspect(pinned.path, config.model.uri)
    gpus = serving.serving_gpus(config, kind)
    summary = ModelSummary(
        revision=pinned.revision,
        path=str(pinned.path),
        architecture=kind.name,
        parameters=kind.parameters,
        digest=directory_digest(pinned.path),
    )
    trained = architecture.Trainable(parameters=0)
    if config.adopt is None:
        trained = architecture.trainable(kind, config.training.adapter, config.model.uri)
    source = staging.made_from(config, data, summary, kind) if data else None
    held = adoption.held_rows(run, made_from=source, revision=pinned.revision)
    rows = held or shared.take(source, RunDirectory(scratch))
    if rows is not None:
        logger.info("these files were tokenised before: %s shows their rows", run.preview_file)
    elif data:
        rows = staging.stage(config, data, summary, kind, source=source, scratch=scratch)
        shared.keep(RunDirectory(scratch))
    else:
        rows = staging.without_rows(RunDirectory(scratch))
    staged = run if held else RunDirectory(scratch)
    if rows.leaked_rows and config.dataset.on_leak == "Fail":
        raise leaks.refusal(
            staged.leaks_file,
            scratch / run.errors_file.name,
            rows.leaked_rows,
            rows.validation_rows,
        )
    _require_validation(config, rows.validation_examples)
    if config.adopt is None:
        job = warnings.of_job(config, rows, context=kind.context, notes=trained.warnings)
        rows = rows.model_copy(update={"warnings": (*rows.warnings, *job)})
    adopted = served = None
    if config.adopt is not None:  # before questions, which are asked through its chat template
        from ..adopt import install

        _install(run, staged, summary, confirm)
        staged = run
        adopted = install.adopt(config, run, summary, kind, confirm)
        served = run.model if adopted.type == "Full" else run.adapter
    questions = None
    if config.evaluation is not None:
        asked = evaluating.Job(
            config=config,
            data=data,
            own=own,
            model=summary,
            kind=kind,
            prepared=staged,
            rows=rows,
            adopted=served,
        )
        questions = evaluating.questions(asked, run, scratch=scratch)
        rows = rows.model_copy(update={"warnings": (*rows.warnings, *questions.evaluation.warnings)})
    for warning in rows.warnings:
        logger.warning("%s", warning)
    plan = estimate.NOTHING
    if config.adopt is None:
        shape = estimate.Shape(
            rows=rows.train_examples,
            tokens=rows.train_tokens,
            longest=rows.tokens_per_row.max,
            validation_rows=rows.validation_examples,
            validation_tokens=dataset.count_tokens(staged.validation_rows),
        )
        plan = estimate.plan(config, kind, trained.parameters, shape)
    plan = plan.model_copy(update={"serving_gpus": gpus})
    _install(run, staged, summary, confirm)
    asked_for = questions.evaluation.plan if questions else None
    if questions is not None:
        questions.install(run, confirm)
    adoption.clear_errors(run)
    if adopted is not None:
        return PrepareSummary(model=summary, dataset=rows, plan=plan, artifact=adopted, evaluation=asked_for)
    passes.write(run, plan.tokens_per_pass)
    training = config.training
    artifact = adoption.finished_artifact(run, keep_epochs=training.keep_epochs)
    if artifact is None:
        checkpoints = _fitting_checkpoints(config, run)
        copies = 1 + training.keep_epochs + (training.select.strategy == "Best")
        if (tight := space.check(run, checkpoints, trained=trained.parameters, copies=copies)) is not None:
            logger.warning("%s", tight)
            rows = rows.model_copy(update={"warnings": (*rows.warnings, tight)})
    return PrepareSummary(model=summary, dataset=rows, plan=plan, artifact=artifact, evaluation=asked_for)


def _install(
    run: RunDirectory, staged: RunDirectory, model: ModelSummary, confirm: Callable[[], None]
) -> None:
    """Move a new ``prepared/`` into the run, unless it is there."""
    if staged == run:
        return
    adoption.write_json(staged.model_file, model.model_dump(mode="json"))
    staged.errors_file.touch()
    adoption.install(run, staged, confirm)


def sentence(config: TrainerConfig, summary: PrepareSummary) -> str:
    """What prepare found, for people."""
    rows = summary.dataset
    name = config.model.uri.rstrip("/").rpartition("/")[2]
    pinned = f"{name} pinned at {summary.model.revision[:7]}"
    if config.adopt is not None and summary.artifact is not None:
        kind = "model" if summary.artifact.type == "Full" else "adapter"
        held = f"the {kind} in {config.adopt.uri} holds {summary.artifact.source_digest}"
        return f"{held}, and was checked against the base; {pinned}"
    validation = f" and {rows.validation_rows:,} for validation" if rows.validation_rows else ""
    examples = f" as {rows.train_examples:,} examples" if rows.split_rows else ""
    text = f"{rows.train_rows:,} rows{examples}{validation}, {rows.train_tokens:,} tokens"
    text = f"{text}; {pinned}"
    return f"{text}; a finished artifact is adopted" if summary.artifact else text


def _require_consistent(config: TrainerConfig) -> None:
    data = config.dataset
    if data.validation is not None and data.validation_fraction is not None:
        raise InvalidInput(
            "dataset.validation and dataset.validationFraction exclude each other: remove one."
        )
    if data.validation_fraction is not None and not 0 < Decimal(data.validation_fraction) < 1:
        raise InvalidInput(
            f"dataset.validationFraction {data.validation_fraction} must be between 0 and 1, such as 0.1."
        )
    if data.validation is None and data.validation_fraction is None:
        _require_validation(config, 0)


def _require_validation(config: TrainerConfig, rows: int) -> None:
    if config.training.select.strategy == "Best" and not rows:
        raise InvalidInput(
            "training.select.strategy Best needs validation rows, and there are none: set dataset.validation "
            "or a larger dataset.validationFraction, or strategy Last."
        )


def _fitting_checkpoints(config: TrainerConfig, run: RunDirectory) -> Checkpoints:
    """An earlier job of this name may have begun the run on other nodes: say so before GPUs are held."""
    training = config.training
    layout = Layout.of(training, world_size=training.world_size)
    checkpoints = Checkpoints(run.checkpoints, layout, keep=training.checkpoint_keep)
    checkpoints.require_fitting()
    return checkpoints


def _locate(config: TrainerConfig) -> dict[Role, DataSource]:
    data, platform = config.dataset, config.platform
    if data.train is None:
        return {}
    sources: dict[Role, DataSource] = {"train": locate_data(data.train, "train", platform=platform)}
    if data.validation is not None:
        sources["validation"] = locate_data(data.validation, "validation", platform=platform)
    return sources
