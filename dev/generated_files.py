"""What every generator of files does: write what has changed, or say what is out of date."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from dev import paths


def out_of_date(files: Mapping[Path, str], present: Iterable[Path]) -> list[Path]:
    """Return files that are missing or differ, and those of ``present`` that are made no more."""
    gone = {path for path in present if path not in files}
    return sorted(
        gone | {path for path, text in files.items() if not path.exists() or path.read_text() != text}
    )


def write_or_check(files: Mapping[Path, str], stale: Collection[Path]) -> int:
    """Bring stale files up to date, or with `--check` say which they are; the exit status is 1 then."""
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"out of date: {path.relative_to(paths.REPOSITORY)} (run `make generate`)", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
    return 0
