"""Validation and evaluation rows that stand in the training rows as well: found, listed, and told.

Their loss or scores say how well they were memorised. A row that has only its prompt in common with a
training row is listed, and is no leak: one question may have several answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract.errors import BadRow, DataInvalid, name_list
from ..data.bad_rows import SHOWN
from .compared import Compared, Digests, Line, short

LEAKS_VERSION = 2
"""Raised when the same validation rows yield other findings, or other files: rows that jobs share are then
made again."""

_NAMED = 3


class Kind(StrEnum):
    """What a validation row has in common with a training row; the first that is true counts."""

    EXACT = "Exact"
    """All tokens, as training reads them, and what is learned of them."""
    NORMALISED = "Normalised"
    """Prompt and answer, but for case, spaces, punctuation and Unicode's forms."""
    SAME_PROMPT = "SamePrompt"
    """The prompt, in that sense; the answer is another."""


Listed = dict[str, Any]
"""A line of the list: file and line of both rows, and the kind."""


class Leak(NamedTuple):
    """A validation row, and the first training row that it is like."""

    kind: Kind
    validation: int
    train: int
    """Indices of rows."""


class Side(NamedTuple):
    """The rows of one split."""

    exact: Sequence[bytes]
    """Digest of the tokens and labels of each."""
    compared: Compared


@dataclass(slots=True)
class Found:
    """Numbers for people, and the first rows of each kind of finding."""

    leaked: int = 0
    same_prompt: int = 0
    first: list[Line] = field(default_factory=list)
    first_same_prompt: list[Line] = field(default_factory=list)


def find(train: Side, validation: Side) -> Iterator[Leak]:
    """Rows of ``validation`` that are like one of ``train``, in their order."""
    pairs = (
        (Kind.EXACT, short(train.exact), short(validation.exact)),
        (Kind.NORMALISED, train.compared.wholes, validation.compared.wholes),
        (Kind.SAME_PROMPT, train.compared.prompts, validation.compared.prompts),
    )
    kinds = [kind for kind, _, _ in pairs]
    rows = np.stack([_first_equal(known, asked) for _, known, asked in pairs])
    first = (rows >= 0).argmax(axis=0)
    for index in np.flatnonzero((rows >= 0).any(axis=0)).tolist():
        yield Leak(kinds[first[index]], index, int(rows[first[index], index]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How the rows are called, and where they are listed."""

    rows: str
    measure: str
    """What leaked rows spoil."""
    directory: str
    """Of their list in the run's directory."""


VALIDATION = Told(rows="validation", measure="loss says", directory="prepared")
EVALUATION = Told(rows="evaluation", measure="scores say", directory="evaluation")


def write(leaks: Iterable[Leak], train: Side, validation: Side, path: Path) -> Found:
    """Write the list, a JSON object a line, and count; without findings there is no file."""

    def listed() -> Iterator[Listed]:
        for leak in leaks:
            line, same = validation.compared.line(leak.validation), train.compared.line(leak.train)
            row = {"file": line.file, "line": line.number}
            yield row | {"train_file": same.file, "train_line": same.number, "kind": leak.kind}

    return write_list(listed(), path)


def write_list(rows: Iterable[Listed], path: Path) -> Found:
    """Write rows of such a list, and count; without any there is no file."""
    found = Found()
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            if row["kind"] == Kind.SAME_PROMPT:
                found.same_prompt += 1
                first = found.first_same_prompt
            else:
                found.leaked += 1
                first = found.first
            if len(first) < _NAMED:
                first.append(Line(row["file"], row["line"]))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    if not found.leaked and not found.same_prompt:
        path.unlink()
    return found


def read_list(path: Path) -> Iterator[Listed]:
    """The rows of a list; none where there is no file."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def warnings(found: Found, total: int, told: Told = VALIDATION) -> list[str]:
    """What is told about the findings among ``total`` rows."""
    sentences = []
    if found.leaked:
        sentences.append(
            sentence(found.leaked, total, found.first, listed=f"{told.directory}/leaks.jsonl", told=told)
        )
    if found.same_prompt:
        one = found.same_prompt == 1
        sentences.append(
            f"{found.same_prompt:,} of {total:,} {told.rows} rows {'has' if one else 'have'} the prompt of "
            f"a training row and another answer, {_where(found.first_same_prompt, found.same_prompt)}: "
            f"{told.directory}/leaks.jsonl has them."
        )
    return sentences


def sentence(leaked: int, total: int, first: Sequence[Line], *, listed: str, told: Told = VALIDATION) -> str:
    """What leaked rows are, and what to do about them; the file ``listed`` has more than the first."""
    one = leaked == 1
    more = f"; {listed} has all" if first and leaked > len(first) else ""
    where = f", {_where(first, leaked)}" if first else ""
    return (
        f"{leaked:,} of {total:,} {told.rows} rows {'stands' if one else 'stand'} in the training rows as "
        f"well{where}: {'its' if one else 'their'} {told.measure} how well "
        f"{'it was' if one else 'they were'} memorised. Remove {'it' if one else 'them'} from one of the "
        f"files{more}."
    )


def refusal(path: Path, errors: Path, leaked: int, total: int, told: Told = VALIDATION) -> DataInvalid:
    """The error of a job that takes no leaked rows; those of the list ``path`` are written to ``errors``."""
    first: list[BadRow] = []
    with errors.open("w", encoding="utf-8") as written:
        for row in _listed(path):
            if len(first) < SHOWN:
                first.append(row)
            written.write(json.dumps(row.as_json(), ensure_ascii=False) + "\n")
    lines = [Line(row.file, row.line) for row in first[:_NAMED]]
    message = sentence(leaked, total, lines, listed=f"prepared/{errors.name}", told=told)
    return DataInvalid(message, rows=first, classes={_CLASS: leaked}, errors=leaked)


_CLASS = "leaked_row"


def _listed(path: Path) -> Iterator[BadRow]:
    """The leaked rows of a list, as findings about rows; none where somebody has removed the list."""
    for row in read_list(path):
        if row["kind"] == Kind.SAME_PROMPT:
            continue
        like = "stands" if row["kind"] == Kind.EXACT else "stands, but for its spelling,"
        where = f"{row['train_file']}, line {row['train_line']}"
        message = f"The row {like} in the training rows as well: {where}."
        yield BadRow(line=row["line"], kind=_CLASS, message=message, file=row["file"])


def _where(first: Sequence[Line], count: int) -> str:
    """Say "in line 3 of test.jsonl", or "the first in lines 3, 17 and 40 of test.jsonl"."""
    if len({line.file for line in first}) > 1:
        named = name_list(f"line {line.number} of {line.file}" for line in first)
    else:
        lines = "lines" if len(first) > 1 else "line"
        named = f"{lines} {name_list(line.number for line in first)} of {first[0].file}"
    return f"in {named}" if count <= len(first) else f"the first in {named}"


def _first_equal(known: Digests, asked: Digests) -> npt.NDArray[np.int64]:
    """For each digest that is asked for the first index where it is known; -1 where it is not, or is 0."""
    if not len(known):
        return np.full(len(asked), -1, dtype=np.int64)
    order = np.argsort(known, kind="stable")
    at = order[np.searchsorted(known, asked, sorter=order).clip(max=len(known) - 1)]
    return np.where((known[at] == asked) & (asked != 0), at, -1)
