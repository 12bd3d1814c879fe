"""Rows of a report side by side: what was asked and expected, and what two candidates answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..pages.text import escaped
from ..scoring import figures
from ..scoring.report import ReportRow
from .page_rows import Highest, Pair, ShownRows
from .page_text import block, last_message, said


def examples(shown: ShownRows) -> Iterator[str]:
    """Sections with the rows that were won and lost most clearly."""
    main = shown.main
    if main.other is None:
        yield from _section("Rows with the lowest scores", main, main.lost)
    else:
        yield from _section(f"Rows in which the tuned model beats {main.other}", main, main.won)
        yield from _section(f"Rows in which the tuned model loses to {main.other}", main, main.lost)
    if shown.general is not None:
        yield from _section(
            "General questions that the tuned model does worse", shown.general, shown.general.lost
        )


def _section(title: str, pair: Pair, rows: Highest) -> Iterator[str]:
    shown = rows.rows
    if not shown:
        return
    yield (
        f"<section><h2>{escaped(title)}</h2>\n<p>{len(shown)} of {rows.total:,}, the clearest first, by "
        f"{escaped(pair.metric)}.</p>\n"
    )
    for row in shown:
        yield _row(row, pair)
    yield "</section>\n"


def _row(row: ReportRow, pair: Pair) -> str:
    role, prompt = last_message(row.prompt)
    turn = f", turn {row.turn}" if row.turn > 1 else ""
    leak = " <small>stands in the training rows as well</small>" if row.leak else ""
    sides = [("Expected", said(row.expected, row.expected_calls))]
    sides += [_side(row, name, pair.metric) for name in _names(pair)]
    columns = "".join(f"<div><h4>{escaped(title)}</h4>{block(text)}</div>" for title, text in sides)
    return (
        f"<article><h3>{escaped(row.file)}, line {row.line:,}{turn}{leak}</h3>\n"
        f"<h4>Prompt, its last message ({escaped(role)})</h4>{block(prompt)}\n"
        f'<div class="sides">{columns}</div></article>\n'
    )


def _names(pair: Pair) -> Sequence[str]:
    return [pair.one] if pair.other is None else [pair.one, pair.other]


def _side(row: ReportRow, name: str, metric: str) -> tuple[str, str]:
    answer = row.candidates[name]
    cut = ", cut at the limit" if answer.finish_reason == "length" else ""
    return f"{name}: {figures.score(answer.scores[metric])}{cut}", said(answer.answer, answer.tool_calls)
