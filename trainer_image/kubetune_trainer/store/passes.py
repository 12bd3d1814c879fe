"""How large forward passes are: what prepare has computed, or less once a GPU ran out of memory.

It decides how a run goes and not what it yields, so that it is neither in the run key nor in a checkpoint.
"""

from __future__ import annotations

import json

from ..contract.layout import RunDirectory
from . import unfinished


def write(run: RunDirectory, tokens: int) -> None:
    """Remember the padded tokens of one pass on one rank."""
    path = unfinished.beside(run.passes_file)
    path.write_text(json.dumps({"tokens": tokens}), encoding="utf-8")
    path.replace(run.passes_file)


def read(run: RunDirectory) -> int | None:
    """The tokens; None where nobody has written them."""
    try:
        found = json.loads(run.passes_file.read_text(encoding="utf-8"))["tokens"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, int) and found > 0 else None


def halve(run: RunDirectory, tokens: int, *, longest: int) -> int | None:
    """Let the next attempt have passes of half the tokens, and return these; None when none is smaller.

    A row is never divided: ``longest`` is the tokens of the longest."""
    if tokens <= longest:
        return None
    half = max(longest, tokens // 2)
    write(run, half)
    return half
