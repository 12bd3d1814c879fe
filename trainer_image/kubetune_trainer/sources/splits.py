"""Which files of a dataset repository a URI means: a named file, or the files of one split.

A split is ``train.jsonl`` or ``train-00000-of-00004.parquet`` and so on, or all parts in a folder ``train/``;
in the root, in ``data/``, or in the directory (of a configuration) that the URI names. A URI that could mean
several splits is refused: mixed, they are other data than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..contract.errors import DataInvalid, name_list
from ..data.files import kind_of_name
from .source import RemoteFile, Role, field_of

_STEMS: dict[Role, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "test"),
    "evaluation": ("test", "validation", "valid", "dev"),
    "regression": ("test", "validation", "valid", "dev"),
}
"""How the splits of a role are called; the first that is found is taken."""

_NUMBERED = re.compile(r"(.+)-\d+-of-(\d+)(?:-[0-9a-f]+)?")  # the library datasets adds a hash
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """A file with rows, and where it stands."""

    file: RemoteFile
    directory: str
    stem: str
    """Of its name, without number and endings."""
    parts: int | None
    """How many files the split has, if the name says so."""
    ending: str

    @property
    def split(self) -> str:
        """How a URI can name its split."""
        if self.parts is None:
            return self.file.name
        return str(PurePosixPath(self.directory) / self.stem)


Splits = dict[str, list[_Rows]]


def choose(files: Sequence[RemoteFile], *, repository: str, path: str, role: Role) -> list[RemoteFile]:
    """The files that ``hf://<repository>/<path>`` means, in order.

    Raises:
        DataInvalid: there are none, some of a split are missing, or several splits could be meant.
    """
    if named := [file for file in files if file.name == path]:
        return named
    rows = [found for file in sorted(files, key=lambda file: file.name) if (found := _rows(file))]
    has = f"it has {name_list(row.file.name for row in rows) or 'no jsonl, json, csv or parquet files'}"
    if kind_of_name(path):
        raise DataInvalid(f"hf://{repository} has no file {path}; {has}.")
    splits = _named(rows, path) if path else _default(rows, role)
    splits = splits or _begins_with(rows, (path,) if path else _STEMS[role])
    if not splits and path:
        splits = _in_configurations(rows, path, role)
    if not splits:
        stems = (path,) if path else _STEMS[role]
        raise DataInvalid(
            f"hf://{repository} has no files {' or '.join(f'{stem}*' for stem in stems)} in its root or in "
            f"data/; {has}. Name the file in {field_of(role)}: hf://{repository}/path/file.jsonl."
        )
    if len(splits) > 1:
        raise DataInvalid(
            f"hf://{repository} has several splits that may be meant: {name_list(sorted(splits))}. "
            f"Name one of them in {field_of(role)}, such as hf://{repository}/{min(splits)}."
        )
    ((name, chosen),) = splits.items()
    expected = chosen[0].parts
    if expected is not None and len(chosen) != expected:
        raise DataInvalid(f"hf://{repository} has {len(chosen)} of the {expected} files of {name}.")
    return [row.file for row in chosen]


def _rows(file: RemoteFile) -> _Rows | None:
    kind, path = kind_of_name(file.name), PurePosixPath(file.name)
    if kind is None:
        return None
    numbered = _NUMBERED.fullmatch(kind.stem)
    return _Rows(
        file=file,
        directory=str(path.parent),
        stem=numbered[1] if numbered else kind.stem,
        parts=int(numbered[2]) if numbered else None,
        ending=path.name[len(kind.stem) :],
    )


def _named(rows: Sequence[_Rows], path: str) -> Splits:
    """The split of this name: by its files, or by its folder."""
    return _by_files(rows, path) or _by_folder(rows, path)


def _default(rows: Sequence[_Rows], role: Role) -> Splits:
    """The split of a role that the URI does not name."""
    for stem in _STEMS[role]:
        if found := _named(rows, stem):
            return found
    configurations = sorted({row.directory for row in rows if row.stem in _STEMS[role]})
    return {
        name: splits
        for directory in configurations
        for name, splits in _inside(rows, directory, role).items()
    }


def _in_configurations(rows: Sequence[_Rows], path: str, role: Role) -> Splits:
    """The role's split in the directory that the URI names."""
    return _inside(rows, path, role) or _inside(rows, f"data/{path}", role)


def _inside(rows: Sequence[_Rows], directory: str, role: Role) -> Splits:
    for stem in _STEMS[role]:
        if found := _named(rows, f"{directory}/{stem}"):
            return found
    return {}


def _by_files(rows: Sequence[_Rows], path: str) -> Splits:
    wanted = PurePosixPath(path)
    return _grouped([row for row in rows if row.stem == wanted.name], wanted)


def _begins_with(rows: Sequence[_Rows], stems: Sequence[str]) -> Splits:
    """Splits of the first stem that any file begins with; JSON files of a repository are often no rows."""
    named = [row for row in rows if row.ending != ".json"]
    for stem in stems:
        wanted = PurePosixPath(stem)
        found = _grouped([row for row in named if row.stem.startswith(wanted.name)], wanted)
        if found:
            return found
    return {}


def _grouped(rows: Sequence[_Rows], wanted: PurePosixPath) -> Splits:
    """Files in the right directory, by split."""
    parent = str(wanted.parent)
    directories = (".", "data") if parent == "." else (parent, f"data/{parent}")
    found = _first_ending([row for row in rows if row.directory in directories])
    splits: Splits = {}
    for row in found:
        splits.setdefault(row.split, []).append(row)
    return splits


def _by_folder(rows: Sequence[_Rows], path: str) -> Splits:
    """The files in a folder that is called like the split, if only their numbers differ."""
    for directory in (path, f"data/{path}"):
        found = _first_ending([row for row in rows if row.directory == directory])
        if len({_DIGITS.sub("#", row.stem) for row in found}) == 1:
            return {directory: found}
    return {}


def _first_ending(rows: Sequence[_Rows]) -> list[_Rows]:
    """The same rows may be there in several kinds of files: the first in the alphabet is taken."""
    ending = min((row.ending for row in rows), default="")
    return [row for row in rows if row.ending == ending]
