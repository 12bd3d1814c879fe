"""``prepare``: everything that can fail before a GPU is held, from top to bottom.

Pins the model, checks and tokenises the data, estimates the run, and leaves ``prepared/`` in its directory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import adoption, estimate, termination
from .bad_rows import BadRows
from .checkpoints import Checkpoints, Layout
from .config import FileSource, TrainerConfig, digest_of
from .errors import DataInvalid, InvalidInput, ModelUnavailable, first_line
from .layout import RunDirectory
from .messages import DatasetSummary, ExitCode, ModelSummary, PrepareSummary
from .sources import Role, fetch_data

if TYPE_CHECKING:
    from .architecture import Architecture

logger = logging.getLogger(__name__)

PREPARED_VERSION = 1
"""Raised when the same rows come out as other tokens or labels: runs of an earlier version are set aside."""

_SCRATCH = ".prepare-"
_FEW_ROWS = 50


def main(config: TrainerConfig) -> int:
    """Prepare a run and write the termination message."""
    run = RunDirectory.of(config)
    run.root.parent.mkdir(parents=True, exist_ok=True)
    for left in run.root.parent.glob(
        f"{_SCRATCH}*"
    ):  # of a pod that was killed; one job has one prepare at a time
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=run.root.parent))
    try:
        summary = prepare(config, run, scratch)
    except DataInvalid:
        adoption.keep_errors(run, scratch / run.errors_file.name)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    message = sentence(config, summary)
    logger.info("%s", message)
    termination.write(termination.completed(message, summary))
    return ExitCode.COMPLETED


def prepare(config: TrainerConfig, run: RunDirectory, scratch: Path) -> PrepareSummary:
    """Check everything, and install ``prepared/``."""
    _require_consistent(config)
    estimate.require_batch(config)

    from . import architecture, model

    pinned = model.fetch_model(config)
    kind = architecture.inspect(pinned.path, config.model.uri)
    trained = architecture.trainable(kind, config.training.adapter, config.model.uri)
    summary = ModelSummary(
        revision=pinned.revision, path=str(pinned.path), architecture=kind.name, parameters=kind.parameters
    )

    from . import dataset

    staged = scratch / "prepared"
    staged.mkdir()
    train, validation, template = _tokenise(config, pinned.path, kind, scratch)
    lengths = train.lengths
    held_out = validation.lengths if validation else []
    shape = estimate.Shape(
        rows=len(lengths),
        tokens=sum(lengths),
        longest=max(lengths),
        validation_rows=len(held_out),
        validation_tokens=sum(held_out),
    )
    plan = estimate.plan(config, kind, trained.parameters, shape)
    rows = DatasetSummary(
        fingerprint=_fingerprint(config, train, validation, template),
        train_rows=len(lengths),
        validation_rows=len(validation.digests) if validation else 0,
        train_tokens=sum(lengths),
        tokens_per_row=dataset.tokens_per_row(lengths),
        truncated_rows=train.truncated,
        dropped_rows=train.dropped,
        duplicate_rows=dataset.duplicates(train),
        warnings=(*_warnings(config, train, validation, kind.context), *trained.warnings),
    )
    for warning in rows.warnings:
        logger.warning("%s", warning)

    dataset.save(train, staged / run.train_rows.name)
    if validation is not None:
        dataset.save(validation, staged / run.validation_rows.name)
    details = {
        "format": train.format,
        "rows_read": train.read,
        "uri": config.dataset.train.uri,
        "files": train.files,
        "validation_files": validation.files if validation else (),
    }
    _write_json(staged / run.model_file.name, summary.model_dump(mode="json"))
    _write_json(staged / run.dataset_file.name, {**rows.model_dump(mode="json"), "details": details})
    (staged / run.errors_file.name).touch()
    adoption.install(run, staged, fingerprint=rows.fingerprint, revision=pinned.revision)
    artifact = adoption.finished_artifact(run)
    if artifact is None:
        _require_fitting_checkpoints(config, run)
    return PrepareSummary(model=summary, dataset=rows, plan=plan, artifact=artifact)


def sentence(config: TrainerConfig, summary: PrepareSummary) -> str:
    """What prepare found, for people."""
    rows = summary.dataset
    name = config.model.uri.rstrip("/").rpartition("/")[2]
    validation = f" and {rows.validation_rows:,} for validation" if rows.validation_rows else ""
    text = f"{rows.train_rows:,} rows{validation}, {rows.train_tokens:,} tokens"
    text = f"{text}; {name} pinned at {summary.model.revision[:7]}"
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


def _require_fitting_checkpoints(config: TrainerConfig, run: RunDirectory) -> None:
    """An earlier job of this name may have begun the run on other nodes: say so before GPUs are held."""
    training = config.training
    layout = Layout.of(training, world_size=training.world_size)
    Checkpoints(run.checkpoints, layout, keep=training.checkpoint_keep).require_fitting()


def _tokenise(config: TrainerConfig, model: Path, kind: Architecture, scratch: Path) -> tuple[Any, Any, str]:
    """Both splits and the chat template; raises DataInvalid with the bad rows of both files."""
    from transformers import AutoTokenizer

    from . import dataset
    from .limits import limits_of
    from .tokens import Tokeniser

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a wrong tokenizer file makes the library raise
        raise ModelUnavailable(
            f"The tokenizer of {config.model.uri} cannot be loaded: {first_line(error)}"
        ) from error
    data = config.dataset
    tokeniser = Tokeniser(
        tokenizer, max_length=data.max_length, on_too_long=data.on_too_long, limits=limits_of(kind)
    )
    with closing(BadRows(scratch / "errors.jsonl")) as bad:

        def split(source: FileSource, role: Role) -> dataset.Split:
            files = fetch_data(source, role, platform=config.platform, scratch=scratch / "files" / role)
            rows = scratch / "rows" / role
            return dataset.tokenise_split(files, data, tokeniser, directory=rows, bad=bad, role=role)

        train = split(data.train, "train")
        validation = split(data.validation, "validation") if data.validation else None
    if bad.count:
        raise bad.error(train.read + (validation.read if validation else 0))
    dataset.require_rows(train, validation)
    if data.validation_fraction is not None:
        train, validation = dataset.split_off(
            train, Decimal(data.validation_fraction), seed=config.training.seed
        )
    if not tokeniser.rows_with_end:
        train.warnings.append(
            "No row ends with a special token of the model, so it does not learn to stop: "
            "check its chat template."
        )
    return train, validation, json.dumps(tokenizer.chat_template)


def _fingerprint(config: TrainerConfig, train: Any, validation: Any, template: str) -> str:
    made_by = {
        "version": PREPARED_VERSION,
        "template": hashlib.sha256(template.encode()).hexdigest(),
        "max_length": config.dataset.max_length,
        "train": train.fingerprint(),
        "validation": validation.fingerprint() if validation else None,
    }
    return f"sha256:{digest_of(made_by)}"


def _warnings(config: TrainerConfig, train: Any, validation: Any, context: int | None) -> list[str]:
    from . import dataset

    limit, count = config.dataset.max_length, len(train.digests)
    found = list(train.warnings)
    if count < _FEW_ROWS:
        found.append(f"{count} training rows are few: 50 to 100 good ones are where results begin to show.")
    if count < config.training.batch_size:
        found.append(
            f"training.batchSize {config.training.batch_size} is larger than the {count} training rows: "
            "each epoch is one step."
        )
    if train.truncated:
        answers = train.answers_cut if train.format != "Text" else 0
        cut = f"; in {answers:,} of them part of the answer was cut" if answers else ""
        found.append(
            f"{train.truncated:,} rows are longer than dataset.maxLength {limit:,} and were cut{cut}."
        )
    if train.dropped:
        found.append(f"{train.dropped:,} rows are longer than dataset.maxLength {limit:,} and were dropped.")
    if repeated := dataset.duplicates(train):
        found.append(f"{repeated:,} training rows repeat an earlier one.")
    if validation is not None and (leaked := dataset.leaked(train, validation)):
        found.append(
            f"{leaked:,} of {len(validation.digests):,} validation rows are training rows too: "
            "the validation loss will look better than it is."
        )
    if context is not None and limit > context:
        found.append(
            f"dataset.maxLength {limit:,} is more than the {context:,} tokens that the model was made for."
        )
    return found


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
