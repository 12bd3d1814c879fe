"""Tokenises the files of a split into a file of rows, and counts what users should know about it."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from ..contract.config import DatasetConfig
from ..contract.errors import BadRow, DataInvalid
from ..contract.messages import TokensPerRow
from ..data import row_files
from ..data.bad_rows import BadRows
from ..data.findings import findings_of
from ..data.formats import Example, RowReader
from ..data.portions import portions
from ..data.rows import read_rows
from ..sources.source import DataFile, Role
from ..template.tokens import Dropped, Tokeniser, TokenRow

logger = logging.getLogger(__name__)

MIN_ROWS = 10
"""Fewer training rows teach nothing; the limit is OpenAI's."""

_PORTION = 4 * 1024 * 1024
"""Characters of the rows that are held at the same time."""


@dataclass(slots=True)
class Split:
    """The rows of one split, on disk, and their counts."""

    path: Path
    """The file that has them, and perhaps others."""
    lengths: list[int]
    """Tokens of each row."""
    digests: list[bytes]
    """One per row, of its tokens and labels."""
    format: str
    read: int
    """Rows in the files."""
    files: tuple[str, ...] = ()
    indices: list[int] | None = None
    """Which rows of the file are the split's, in order; None if all are."""
    truncated: int = 0
    answers_cut: int = 0
    dropped: int = 0
    warnings: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Digest of every token and label, in order."""
        total = hashlib.sha256()
        for digest in self.digests:
            total.update(digest)
        return total.hexdigest()

    def select(self, indices: list[int]) -> Split:
        """The rows with these indices, of a split that has its whole file; counts stay those of the files."""
        lengths = [self.lengths[index] for index in indices]
        digests = [self.digests[index] for index in indices]
        return replace(self, indices=indices, lengths=lengths, digests=digests)


@dataclass(slots=True)
class _Counts:
    read: int = 0
    truncated: int = 0
    answers_cut: int = 0
    dropped: int = 0


def tokenise_split(
    files: Sequence[DataFile],
    config: DatasetConfig,
    tokeniser: Tokeniser,
    *,
    path: Path,
    bad: BadRows,
    role: Role,
) -> Split:
    """Read, check and tokenise a split's files into ``path``; every bad row is added to ``bad``."""
    counts = _Counts()
    lengths: list[int] = []
    digests: list[bytes] = []
    formats: list[str] = []
    with row_files.writing(path) as writer:
        for file in files:
            logger.info("reading the %s rows of %s", role, file.name)
            name = _called(file, files, role)
            reader = RowReader(config, name=file.name, has_template=tokeniser.has_template)
            examples = _examples(file, reader, counts, bad, name=name)
            for portion in portions(examples, size=_characters, limit=_PORTION):
                rows = _keep(tokeniser.rows(portion, file=name), counts, bad)
                lengths += [len(row.input_ids) for row in rows]
                digests += [_digest(row) for row in rows]
                if rows:
                    writer.write([row.input_ids for row in rows], [row.labels for row in rows])
            if reader.format is not None:  # else the file has no good row
                formats.append(reader.format)
    if len(set(formats)) > 1 and not bad.count:
        raise DataInvalid(
            f"The files of {files[0].name} have different formats: {', '.join(sorted(set(formats)))}."
        )
    return Split(
        path=path,
        lengths=lengths,
        digests=digests,
        format=next(iter(formats), ""),
        read=counts.read,
        files=tuple(file.name for file in files),
        truncated=counts.truncated,
        answers_cut=counts.answers_cut,
        dropped=counts.dropped,
    )


def check_split(files: Sequence[DataFile], config: DatasetConfig, *, bad: BadRows, role: Role) -> int:
    """Check the rows of a split as far as no tokenizer is needed, and count them."""
    counts = _Counts()
    for file in files:
        name = _called(file, files, role)
        reader = RowReader(config, name=file.name, has_template=True)
        for _ in _examples(file, reader, counts, bad, name=name):
            pass
    return counts.read


def _called(file: DataFile, files: Sequence[DataFile], role: Role) -> str:
    """How bad rows name their file; the only training file needs no name."""
    return file.name if len(files) > 1 or role == "validation" else ""


def _examples(
    file: DataFile, reader: RowReader, counts: _Counts, bad: BadRows, *, name: str
) -> Iterator[tuple[int, Example]]:
    for row in read_rows(file.path, name=file.name):
        counts.read += 1
        if isinstance(row, BadRow):
            bad.add(replace(row, file=name))
            continue
        try:
            yield row.line, reader.read(row)
        except Exception as error:
            for found in findings_of(error):
                bad.add(BadRow(line=row.line, kind=found.kind, message=found.message, file=name))


def _keep(results: list[TokenRow | Dropped | BadRow], counts: _Counts, bad: BadRows) -> list[TokenRow]:
    rows = []
    for result in results:
        match result:
            case TokenRow():
                counts.truncated += result.truncated
                counts.answers_cut += result.answer_cut
                rows.append(result)
            case Dropped():
                counts.dropped += 1
            case BadRow():
                bad.add(result)
    return rows


def _digest(row: TokenRow) -> bytes:
    content = np.asarray([row.input_ids, row.labels], dtype="<i4")
    return hashlib.blake2b(content.tobytes(), digest_size=16).digest()


def _characters(numbered: tuple[int, Example]) -> int:
    return numbered[1].characters


def require_count(count: int, *, dropped: int = 0) -> None:
    """Refuse too few training rows, which may be known before they are tokenised."""
    if count < MIN_ROWS:
        rows = f"{count} row{'' if count == 1 else 's'}"
        without = f" after {dropped} longer than dataset.maxLength were dropped" if dropped else ""
        remedy = "add rows, or raise dataset.maxLength" if dropped else "add rows"
        raise DataInvalid(f"dataset.train has {rows}{without}, but must have at least {MIN_ROWS}: {remedy}.")


def require_rows(train: Split, validation: Split | None) -> None:
    """Refuse data with too few rows to train or validate on."""
    require_count(len(train.digests), dropped=train.dropped)
    if validation is not None and not validation.digests:
        raise DataInvalid("The validation file has no rows left: remove dataset.validation, or give it rows.")


def split_off(split: Split, fraction: Decimal, *, seed: int) -> tuple[Split, Split]:
    """Take a fraction of the rows (at least one) for validation, chosen by the seed alone."""
    total = len(split.digests)
    count = max(1, int(total * fraction))
    if total - count < MIN_ROWS:
        raise DataInvalid(
            f"dataset.validationFraction {fraction} leaves {total - count} of the {total} rows for training, "
            f"which must be at least {MIN_ROWS}: lower it, or give more rows."
        )
    chosen = sorted(random.Random(seed).sample(range(total), count))
    left = sorted(set(range(total)).difference(chosen))
    return split.select(left), split.select(chosen)


def duplicates(split: Split) -> int:
    """Rows that repeat an earlier one."""
    return len(split.digests) - len(set(split.digests))


def leaked(train: Split, validation: Split) -> int:
    """Validation rows that are training rows too."""
    known = set(train.digests)
    return sum(digest in known for digest in validation.digests)


def tokens_per_row(lengths: Sequence[int]) -> TokensPerRow:
    """Distribution of lengths; percentiles are lengths that occur."""
    p50, p95 = np.percentile(lengths, [50, 95], method="inverted_cdf")
    return TokensPerRow(mean=round(sum(lengths) / len(lengths)), p50=int(p50), p95=int(p95), max=max(lengths))


def save(split: Split, path: Path) -> None:
    """Put a split's rows where training reads them: its file, if there are no others in it, else a copy."""
    if split.indices is None:
        split.path.rename(path)
    else:
        row_files.RowFile(split.path).select(split.indices, path)


def count_tokens(path: Path) -> int:
    """Tokens of a split that was saved; 0 where there is none."""
    return sum(row_files.RowFile(path).lengths) if path.exists() else 0
