"""The tables at the end of the demo: what each candidate came to, and what it answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_ROWS = 12  # of the held-out rows, evenly spread; the scores are over all of them


def scores(evaluation: Mapping[str, Any]) -> Table:
    """Every candidate of ``status.evaluation``: its score with the interval, and what its prompt costs."""
    table = Table(title=f"{evaluation['metric']} over {evaluation['rows']} held-out requests")
    for column in ("candidate", "score", "95 % interval", "tuned model wins / loses", "tokens of a prompt"):
        table.add_column(column)
    for candidate in evaluation["candidates"]:
        compared = "wins" in candidate
        table.add_row(
            candidate["name"],
            f"{float(candidate['score']):.2f}",
            f"{float(candidate['low']):.2f} to {float(candidate['high']):.2f}",
            f"{candidate['wins']} / {candidate['losses']}" if compared else "",
            str(candidate["promptTokens"]),
        )
    return table


def answers(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Some lines of rows.jsonl: what was asked, expected, and answered by each candidate."""
    shown = [rows[index] for index in _shown(len(rows))]
    table = Table(title=f"{len(shown)} of {len(rows)} held-out requests")
    names = list(rows[0]["candidates"]) if rows else []
    for column in ("request", "expected", *names):
        table.add_column(column)
    for row in shown:
        said = (_coloured(row["candidates"][name], metric) for name in names)
        table.add_row(_plain(row["prompt"][-1]["content"]), _plain(row["expected"]), *said)
    return table


def _shown(count: int) -> list[int]:
    """Return the indices of the rows to show."""
    return [number * count // _ROWS for number in range(_ROWS)] if count > _ROWS else [*range(count)]


def _coloured(answer: Mapping[str, Any], metric: str) -> str:
    text = _plain(answer["answer"])[:40]
    return f"[green]{text}[/green]" if answer["scores"][metric] == 1 else f"[red]{text}[/red]"


def _plain(text: str) -> str:
    """On one line; brackets would be read as markup."""
    return " ".join(text.split()).replace("[", "(")
