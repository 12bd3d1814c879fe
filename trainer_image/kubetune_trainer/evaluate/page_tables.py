"""Tables of a report: candidates, differences, the gate, and facts of two columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..pages.text import escaped
from ..scoring import figures
from ..scoring.report import CandidateReport, GateReport, Report

_LONGEST: Final = 300
"""Characters of one fact."""
_MOST: Final = 80
"""Facts of one table."""


def table(caption: str, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the rows; cells are text."""
    body = "".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    return _wide(caption, titles, body, "wide figures")


def _wide(caption: str, titles: Sequence[str], body: str, style: str) -> str:
    """A table that is scrolled where it is wider than the page, by keyboard as well."""
    head = "".join(f'<th scope="col">{escaped(title)}</th>' for title in titles)
    told = escaped(caption)
    return (
        f'<p class="caption">{told}</p>\n<div class="{style}" tabindex="0" role="region" aria-label="{told}">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def facts(rows: Mapping[str, str]) -> str:
    """What is known by name, two columns."""
    body = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(_short(value))}</td></tr>\n'
        for name, value in list(rows.items())[:_MOST]
    )
    return f'<table class="facts"><tbody>{body}</tbody></table>\n' if body else ""


def candidates(report: Report) -> str:
    """Every candidate with every metric."""
    titles, rows = figures.candidate_table(report)
    confidence = figures.percent(report.config.confidence)
    caption = f"Mean scores from 0 to 1 with their {confidence} intervals; {report.metric} decides"
    if report.gate is None:
        caption = f"Mean scores from 0 to 1 with their {confidence} intervals"
    return table(caption, titles, rows)


def served(candidates: Sequence[CandidateReport]) -> str:
    """How the server was used by each candidate."""
    titles = ["Candidate", "Name in the server", "Answer tokens", "Server's time", "Cut answers"]
    rows = [
        [
            one.name,
            one.model,
            figures.whole(one.completion_tokens),
            f"{figures.seconds(one.seconds_per_request)} a request",
            figures.whole(one.cut),
        ]
        for one in candidates
    ]
    return table("Answers; one that reached generation.maxTokens was cut", titles, rows)


def versus(candidates: Sequence[CandidateReport], metrics: Sequence[str]) -> str:
    """The tuned model against each other candidate by each metric; empty where there is none."""
    rows = [
        [
            candidate.name,
            metric,
            figures.difference(found.difference),
            figures.whole(found.wins),
            figures.whole(found.losses),
            figures.whole(found.ties),
        ]
        for candidate in candidates
        for metric in metrics
        if (found := candidate.versus.get(metric)) is not None
    ]
    titles = ["Against", "Metric", "Difference", "Wins", "Losses", "Ties"]
    return table("The tuned model against each, row by row", titles, rows) if rows else ""


def gate(found: GateReport) -> str:
    """Each condition, and whether it is met."""
    results = {True: '<td class="good">✓ passed</td>', False: '<td class="bad">✗ not passed</td>'}
    rows = "".join(
        f'<tr><th scope="row">{escaped(check.name)}</th>{results[check.passed]}'
        f"<td>{escaped(check.sentence)}</td></tr>\n"
        for check in found.checks
    )
    return _wide("What a result has to reach to be served", ["Condition", "Result", "Why"], rows, "wide")


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Settings within settings as facts: ``{"a": {"b_c": 1}}`` is ``{"a, b c": "1"}``; None is left out."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{before}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}, ")
        elif isinstance(value, list | tuple):
            if value:
                found[name] = ", ".join(str(item) for item in value[:20])
        elif value is not None:
            found[name] = _told(value)
    return {name[:1].upper() + name[1:]: value for name, value in found.items()}


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... {len(text) - _LONGEST:,} characters"
