"""Checks and tokenises a job's rows, and stages ``prepared/``; knows what decides how it comes out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..base.architecture import Architecture
from ..base.digest import tokenizer_digest
from ..base.limits import limits_of
from ..contract.config import TrainerConfig, digest_of
from ..contract.layout import RunDirectory
from ..contract.messages import DatasetSummary, ModelSummary, TokensPerRow
from ..data.bad_rows import BadRows
from ..data.row_files import RowFile
from ..sources.source import DataSource, Role
from ..template.ends import base_stops
from ..template.source import ChatSource
from . import adoption, dataset, held_out, leaks, preview, warnings
from .reading import Reading

logger = logging.getLogger(__name__)

PREPARED_VERSION = 3
"""Raised when the same rows come out as other tokens or labels: runs of an earlier version are set aside."""

_LIBRARIES = ("jinja2", "pyarrow", "tokenizers", "transformers")
"""Libraries whose other versions may read or tokenise the same files differently."""

_LOGGED_ROWS = 3

Data = Mapping[Role, DataSource]


def made_from(config: TrainerConfig, data: Data, model: ModelSummary, kind: Architecture) -> str | None:
    """Digest of everything that decides what comes out of the rows; None when it cannot be told.

    Remote files are known by their etags, so that nothing is fetched. Models of one family have one
    tokenizer, and so the same rows.
    """
    contents = {role: [asdict(file) for file in source.contents()] for role, source in data.items()}
    if not all(file["etag"] for files in contents.values() for file in files):
        return None
    made_by: dict[str, Any] = {
        "version": PREPARED_VERSION,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "tokenizer": {
            "files": tokenizer_digest(Path(model.path)),
            "kind": kind.config.model_type,
            "limits": asdict(limits_of(kind)),
            "stops": base_stops(Path(model.path)),
        },
        "dataset": config.dataset.as_decided(),
        "seed": config.training.seed if config.dataset.validation_fraction is not None else None,
        "contents": contents,
    }
    if config.dataset.has_validation:
        made_by["leaks"] = leaks.LEAKS_VERSION
    return f"sha256:{digest_of(made_by)}"


def check(config: TrainerConfig, data: Data, *, scratch: Path) -> None:
    """Check the rows as far as no model is needed, before one is fetched.

    Raises:
        DataInvalid: rows or files cannot be used; all bad rows are in ``errors.jsonl`` of ``scratch``.
    """
    with closing(BadRows(scratch / "errors.jsonl")) as bad:
        read: dict[Role, int] = {}
        for role, source in data.items():
            logger.info("checking the %s rows before the model is fetched", role)
            files = source.fetch(fetched(scratch, role))
            read[role] = dataset.check_split(files, config.dataset, bad=bad, role=role)
    if bad.count:
        raise bad.error(sum(read.values()))
    dataset.require_count(read["train"])


def fetched(scratch: Path, role: Role) -> Path:
    """Where the files of a source are put."""
    return scratch / "files" / role


def stage(
    config: TrainerConfig,
    data: Data,
    model: ModelSummary,
    kind: Architecture,
    *,
    source: str | None,
    scratch: Path,
) -> DatasetSummary:
    """Tokenise the rows and write ``prepared/`` into ``scratch``, but for what is about the job.

    ``source`` is what ``made_from`` said before.

    Raises:
        DataInvalid: rows or files cannot be used; all bad rows are in ``errors.jsonl`` of ``scratch``.
        ModelUnavailable: the tokenizer cannot be used.
    """
    run = RunDirectory(scratch)
    run.prepared.mkdir()
    tokenised = _tokenise(config, data, Reading.of(config, model, kind), scratch)
    train, validation = tokenised.train, tokenised.validation
    lengths = train.lengths
    leaked = _leaks(train, validation, run.leaks_file)
    summary = DatasetSummary(
        fingerprint=_fingerprint(config, train, validation, tokenised.source),
        train_rows=len(train.parts),
        validation_rows=len(validation.parts) if validation else 0,
        train_tokens=sum(lengths),
        tokens_per_row=dataset.tokens_per_row(lengths),
        truncated_rows=train.truncated,
        dropped_rows=train.dropped,
        duplicate_rows=dataset.duplicates(train),
        leaked_rows=leaked.leaked,
        split_rows=train.split_rows,
        train_examples=len(lengths),
        validation_examples=len(validation.lengths) if validation else 0,
        sha256=train.sha256,
        warnings=tuple(warnings.of_rows(config.dataset, train, validation, leaked)),
    )
    dataset.save(train, run.train_rows)
    if validation is not None:
        dataset.save(validation, run.validation_rows)
        if validation.compared is not None:
            adoption.write_json(run.validation_lines_file, validation.compared.lines())
    details = {
        "format": train.format,
        "rows_read": train.read,
        "uri": config.dataset.rows.uri,
        "files": train.files,
        "validation_files": validation.files if validation else (),
        # A file that changed while it was read says nothing about the rows.
        "made_from": source if source == made_from(config, data, model, kind) else None,
        "row_files": adoption.row_files(run),
        "ends": tokenised.ends,
    }
    adoption.write_json(run.dataset_file, {**summary.model_dump(mode="json"), "details": details})
    return summary


def without_rows(run: RunDirectory) -> DatasetSummary:
    """Write a ``prepared/`` of a job that needs no rows, and return what it says of them."""
    run.prepared.mkdir()
    none = DatasetSummary(
        fingerprint="",
        train_rows=0,
        validation_rows=0,
        train_tokens=0,
        tokens_per_row=TokensPerRow(mean=0, p50=0, p95=0, max=0),
    )
    adoption.write_json(run.dataset_file, none.model_dump(mode="json"))
    return none


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tokenised:
    train: dataset.Split
    validation: dataset.Split | None
    source: ChatSource | None
    """The chat template."""
    ends: tuple[int, ...]
    """Tokens that end what is learned."""


def _tokenise(config: TrainerConfig, data: Data, reading: Reading, scratch: Path) -> _Tokenised:
    """Tokenise both splits; raises DataInvalid with the bad rows of both files."""
    rows, tokeniser, control = config.dataset, reading.tokeniser, reading.control
    with closing(BadRows(scratch / "errors.jsonl")) as bad:

        def split(role: Role) -> dataset.Split:
            files = data[role].fetch(fetched(scratch, role))
            path = scratch / f"{role}.arrow"
            return dataset.tokenise_split(files, rows, tokeniser, control, path=path, bad=bad, role=role)

        train = split("train")
        validation = split("validation") if "validation" in data else None
    if bad.count:
        raise bad.error(train.read + (validation.read if validation else 0))
    dataset.require_rows(train, validation)
    _show(config, train, reading.tokenizer, RunDirectory(scratch).preview_file)
    if rows.validation_fraction is not None:
        train, validation = held_out.split_off(
            train, Decimal(rows.validation_fraction), seed=config.training.seed
        )
    train.warnings += [*control.warnings(), *tokeniser.warnings()]
    return _Tokenised(
        train=train, validation=validation, source=reading.source, ends=tuple(sorted(tokeniser.ends))
    )


def _leaks(train: dataset.Split, validation: dataset.Split | None, path: Path) -> leaks.Found:
    """Find the validation rows that stand in the training rows as well, and list them in ``path``."""
    if validation is None or train.compared is None or validation.compared is None:
        return leaks.Found()
    one = leaks.Side(train.digests, train.compared)
    other = leaks.Side(validation.digests, validation.compared)
    return leaks.write(leaks.find(one, other), one, other, path)


def _show(config: TrainerConfig, train: dataset.Split, tokenizer: Any, path: Path) -> None:
    """Write some training rows for people, as training reads them: to a page, and a few to the log."""
    decoder, rows = preview.Decoder(tokenizer), RowFile(train.path)
    facts = (
        f"Tokenised as for {config.model.uri}",
        f"Rows: {config.dataset.rows.uri}, read as {train.format}",
        f"{len(train.lengths):,} rows, {sum(train.lengths):,} tokens; here are the first and the longest",
    )
    parts = preview.page(
        title=f"Rows of {config.dataset.rows.uri}",
        facts=facts,
        rows=rows,
        places=train.shown,
        decoder=decoder,
    )
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(parts)
    for place in train.shown[:_LOGGED_ROWS]:
        row = rows[place.index]
        runs = list(decoder.runs(row["input_ids"].tolist(), row["labels"].tolist()))
        logger.info("line %s as the model sees it, learned in ⟦⟧: %s", place.line, preview.as_text(runs))


def _fingerprint(
    config: TrainerConfig, train: dataset.Split, validation: dataset.Split | None, source: ChatSource | None
) -> str:
    made_by = {
        "version": PREPARED_VERSION,
        "template": source.digest() if source else None,
        "max_length": config.dataset.max_length,
        "train": train.fingerprint(),
        "validation": validation.fingerprint() if validation else None,
    }
    return f"sha256:{digest_of(made_by)}"
