"""Tokenises the files of a split into a file of rows, and counts what users should know about it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from ..contract.config import DatasetConfig
from ..contract.errors import BadRow, DataInvalid, name_list
from ..contract.messages import TokensPerRow
from ..data import row_files
from ..data.bad_rows import BadRows
from ..data.control_tokens import ControlTokens
from ..data.findings import findings_of
from ..data.formats import Example, RowReader
from ..data.likeness import likeness
from ..data.portions import portions
from ..data.rows import read_rows
from ..sources.source import DataFile, Role
from ..template.tokens import Dropped, Tokeniser, TokenRow
from .compared import Compared
from .progress import Progress
from .sample import Place, Sample

logger = logging.getLogger(__name__)

MIN_ROWS = 10
"""Fewer training rows teach nothing; the limit is OpenAI's."""

_PORTION = 4 * 1024 * 1024
"""Characters of the rows that are held at the same time."""

_TOKENS = 1024 * 1024
"""Tokens of the examples that are held until they are written."""


@dataclass(slots=True)
class Split:
    """The rows of one split, on disk, and their counts."""

    path: Path
    """The file that has them, and perhaps others."""
    lengths: list[int]
    """Tokens of each example."""
    parts: list[int]
    """Examples of each row: more than one where no text has all that is learned as the server has it."""
    digests: list[bytes]
    """One per row, of its tokens and labels."""
    format: str
    read: int
    """Rows in the files."""
    files: tuple[str, ...] = ()
    sha256: str | None = None
    """Of its file, where nothing else pins it."""
    indices: list[int] | None = None
    """Which examples of the file are the split's, in order; None if all are."""
    truncated: int = 0
    dropped: int = 0
    warnings: list[str] = field(default_factory=list)
    compared: Compared | None = None
    """What is compared between the splits, where there are validation rows."""
    shown: list[Place] = field(default_factory=list)
    """Some rows of the file, for people."""

    @property
    def split_rows(self) -> int:
        """Rows that became several examples."""
        return sum(count > 1 for count in self.parts)

    def fingerprint(self) -> str:
        """Digest of every token and label, in order."""
        total = hashlib.sha256()
        for digest in self.digests:
            total.update(digest)
        return total.hexdigest()

    def select(self, rows: list[int]) -> Split:
        """The rows with these indices, of a split that has its whole file; counts stay those of the files."""
        ends = list(accumulate(self.parts))
        indices = [index for row in rows for index in range(ends[row] - self.parts[row], ends[row])]
        return replace(
            self,
            indices=indices,
            lengths=[self.lengths[index] for index in indices],
            parts=[self.parts[row] for row in rows],
            digests=[self.digests[row] for row in rows],
            compared=self.compared.select(rows) if self.compared else None,
        )


@dataclass(slots=True)
class Counts:
    """How many rows were read, cut and left out."""

    read: int = 0
    truncated: int = 0
    dropped: int = 0


def tokenise_split(
    files: Sequence[DataFile],
    config: DatasetConfig,
    tokeniser: Tokeniser,
    control: ControlTokens,
    *,
    path: Path,
    bad: BadRows,
    role: Role,
) -> Split:
    """Read, check and tokenise a split's files into ``path``; every bad row is added to ``bad``."""
    counts = Counts()
    formats: list[str] = []
    warnings: list[str] = []
    progress, sample = Progress(role), Sample()
    compared = Compared() if config.has_validation else None
    with row_files.writing(path) as writer:
        kept = _Kept(writer)
        for file in files:
            logger.info("reading the %s rows of %s", role, file.name)
            name = called(file, files, role)
            reader = RowReader(config, name=file.name, has_template=tokeniser.has_template)
            if compared is not None:
                compared.begin(file.name)
            examples = read_examples(file, reader, counts, bad, name=name, control=control, progress=progress)
            for portion in portions(examples, size=_characters, limit=_PORTION):
                of_line = dict(portion)
                for result in tokeniser.rows(portion, file=name):
                    match result:
                        case TokenRow():
                            counts.truncated += result.truncated
                            length = len(result.input_ids)
                            sample.add(file.name, [(result.line, length)], start=len(kept.lengths))
                            progress.read(tokens=length)
                            kept.add(result)
                            if compared is not None and result.first:
                                compared.add(result.line, likeness(of_line[result.line]))
                        case Dropped():
                            counts.dropped += 1
                        case BadRow():
                            bad.add(result)
            if reader.format is not None:  # else the file has no good row
                formats.append(reader.format)
            warnings += reader.warnings()
            if reader.unread:
                logger.info(
                    "%s: not read are the columns %s", file.name, name_list(sorted(reader.unread), 20)
                )
        kept.write()
    if len(set(formats)) > 1 and not bad.count:
        raise DataInvalid(
            f"The files of {files[0].name} have different formats: {', '.join(sorted(set(formats)))}."
        )
    return Split(
        path=path,
        lengths=kept.lengths,
        parts=kept.parts,
        digests=kept.digests,
        format=next(iter(formats), ""),
        read=counts.read,
        files=tuple(file.name for file in files),
        sha256=files[0].sha256 if len(files) == 1 else None,
        truncated=counts.truncated,
        dropped=counts.dropped,
        warnings=warnings,
        compared=compared,
        shown=sample.places(),
    )


def check_split(files: Sequence[DataFile], config: DatasetConfig, *, bad: BadRows, role: Role) -> int:
    """Check the rows of a split as far as no tokenizer is needed, and count them."""
    counts = Counts()
    progress = Progress(role)
    for file in files:
        name = called(file, files, role)
        reader = RowReader(config, name=file.name, has_template=True)
        for _ in read_examples(file, reader, counts, bad, name=name, control=None, progress=progress):
            pass
    return counts.read


def called(file: DataFile, files: Sequence[DataFile], role: Role) -> str:
    """How bad rows name their file; the only training file needs no name."""
    return file.name if len(files) > 1 or role != "train" else ""


def read_examples(
    file: DataFile,
    reader: RowReader,
    counts: Counts,
    bad: BadRows,
    *,
    name: str,
    control: ControlTokens | None,
    progress: Progress,
) -> Iterator[tuple[int, Example]]:
    """(line, example) of the rows that can be used; without ``control`` no control token is looked for."""
    for row in read_rows(file.path, name=file.name, columns=reader.columns):
        counts.read += 1
        progress.read(rows=1)
        if isinstance(row, BadRow):
            bad.add(replace(row, file=name))
            continue
        try:
            example = reader.read(row)
            yield row.line, control.checked(example) if control else example
        except Exception as error:
            for found in findings_of(error):
                bad.add(BadRow(line=row.line, kind=found.kind, message=found.message, file=name))


class _Kept:
    """The examples that are written to a split's file, and what is remembered of them."""

    def __init__(self, writer: row_files.RowWriter) -> None:
        self.lengths: list[int] = []
        self.parts: list[int] = []
        self.digests: list[bytes] = []
        self._writer = writer
        self._held: list[TokenRow] = []
        self._tokens = 0

    def add(self, row: TokenRow) -> None:
        """Keep an example."""
        if row.first:
            self.parts.append(0)
            self.digests.append(b"")
        self.parts[-1] += 1
        self.lengths.append(len(row.input_ids))
        content = np.asarray([row.input_ids, row.labels], dtype="<i4").tobytes()
        self.digests[-1] = hashlib.blake2b(self.digests[-1] + content, digest_size=16).digest()
        self._held.append(row)
        self._tokens += len(row.input_ids)
        if self._tokens >= _TOKENS:
            self.write()

    def write(self) -> None:
        """Write what is held."""
        if self._held:
            self._writer.write([row.input_ids for row in self._held], [row.labels for row in self._held])
        self._held, self._tokens = [], 0


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


def duplicates(split: Split) -> int:
    """Rows that repeat an earlier one."""
    return len(split.digests) - len(set(split.digests))


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
