"""Which files of a dataset repository a URI means: a named file, or the files of one split.

A split is ``train.jsonl`` or ``train-00000-of-00004.parquet`` and so on, in the root, in ``data/`` or in the
directory that the URI names. A URI that could mean several splits is refused: mixed, they are other data than
was meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..contract.errors import DataInvalid, name_list
from ..data.rows import SUFFIXES
from .source import RemoteFile, Role, field_of

_STEMS: dict[Role, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "test"),
}
"""How the splits of a role are called; the first that is found is taken."""

_NUMBERED = re.compile(r"(.+)-\d+-of-(\d+)(?:-[0-9a-f]+)?")  # the library datasets adds a hash


def choose(files: Sequence[RemoteFile], *, repository: str, path: str, role: Role) -> list[RemoteFile]:
    """The files that ``hf://<repository>/<path>`` means, in order.

    Raises:
        DataInvalid: there are none, some of a split are missing, or several splits could be meant.
    """
    readable = [file for file in files if PurePosixPath(file.name).suffix in SUFFIXES]
    has = f"it has {name_list(file.name for file in readable) or 'no jsonl, csv or parquet files'}"
    if PurePosixPath(path).suffix:
        if named := [file for file in files if file.name == path]:
            return named
        raise DataInvalid(f"hf://{repository} has no file {path}; {has}.")
    stems = (path,) if path else _STEMS[role]
    splits = _splits(readable, stems, exactly=True) or _splits(readable, stems, exactly=False)
    if not splits:
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
    numbered = _NUMBERED.fullmatch(PurePosixPath(chosen[0].name).stem)
    if numbered and len(chosen) != int(numbered[2]):
        raise DataInvalid(f"hf://{repository} has {len(chosen)} of the {int(numbered[2])} files of {name}.")
    return chosen


def _splits(
    files: Sequence[RemoteFile], stems: Sequence[str], *, exactly: bool
) -> dict[str, list[RemoteFile]]:
    """Splits of the first stem that any file has, by the name that a URI can give them."""
    for stem in stems:
        found = [file for file in files if _belongs(PurePosixPath(file.name), stem, exactly=exactly)]
        # The same rows may be there in several formats: the first in the alphabet is taken.
        suffix = min((PurePosixPath(file.name).suffix for file in found), default="")
        splits: dict[str, list[RemoteFile]] = {}
        for file in sorted(found, key=lambda file: file.name):
            path = PurePosixPath(file.name)
            if path.suffix == suffix:
                numbered = _NUMBERED.fullmatch(path.stem)
                name = str(path.with_name(numbered[1])) if numbered else file.name
                splits.setdefault(name, []).append(file)
        if splits:
            return splits
    return {}


def _belongs(path: PurePosixPath, stem: str, *, exactly: bool) -> bool:
    wanted = PurePosixPath(stem)
    directories = (".", "data") if str(wanted.parent) == "." else (str(wanted.parent),)
    numbered = _NUMBERED.fullmatch(path.stem)
    name = numbered[1] if numbered else path.stem
    return str(path.parent) in directories and (
        name == wanted.name if exactly else name.startswith(wanted.name)
    )
