"""The reference page of reasons, from their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .reasons import REASONS, Group

_HEAD: Final = """<!-- Generated from vocabulary/reasons.py. DO NOT EDIT; run make generate. -->
# Reasons of conditions

Each condition and Event of a FineTuneJob has a reason in one word, for programs, and a message, for people:
what happened, where, and what to do. Reasons are a closed set and are never renamed.
"""

_BELOW: Final[Mapping[Group, str]] = {
    Group.HEALS: "Nothing has to be applied again.",
    Group.STALLED: (
        "`Stalled` is True with this reason, and no GPU is held for training. `spec.serving`, claims and\n"
        "what is in the way can be changed in place; for the rest, delete the job and apply it again with\n"
        "the change: finished work is adopted."
    ),
    Group.RUN: "In `status.attempts`, and in the stage's condition while the next run follows.",
}


def reasons_page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for group in Group:
        below = f"\n{_BELOW[group]}\n" if group in _BELOW else ""
        rows = "".join(
            f"| `{r}` | {facts.meaning} |\n" for r, facts in REASONS.items() if facts.group is group
        )
        parts.append(f"\n## {group.value}\n{below}\n| reason | meaning |\n|---|---|\n{rows}")
    return "".join(parts)
