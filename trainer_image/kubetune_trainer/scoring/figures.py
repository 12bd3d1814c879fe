"""Numbers of a report as people read them, and the table of candidates that page and model card share."""

from __future__ import annotations

import math
from decimal import Decimal

from .report import CandidateReport, Interval, Report

_NARROW = 0.05
"""Width of an interval below which a third decimal says something."""

NOT_KNOWN = "not known"


def score(value: float, digits: int = 2) -> str:
    """A score: ``0.87``."""
    return f"{value:.{digits}f}" if math.isfinite(value) else NOT_KNOWN


def with_interval(interval: Interval) -> str:
    """``0.87 (0.82 to 0.91)``."""
    return _told(interval, "")


def difference(interval: Interval) -> str:
    """``+0.12 (+0.05 to +0.19)``."""
    return _told(interval, "+")


def _told(interval: Interval, sign: str) -> str:
    values = (interval.mean, interval.low, interval.high)
    if not all(map(math.isfinite, values)):
        return NOT_KNOWN
    digits = 3 if interval.high - interval.low < _NARROW else 2
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in values)
    return f"{mean} ({low} to {high})"


def whole(value: float) -> str:
    """A number of things with thousands separators: ``12,345``."""
    return f"{value:,.0f}" if math.isfinite(value) else NOT_KNOWN


def seconds(value: float) -> str:
    """``1.20 s``; below a tenth ``0.012 s``."""
    if not math.isfinite(value):
        return NOT_KNOWN
    return f"{value:,.3f} s" if abs(value) < 0.1 else f"{value:,.2f} s"


def percent(value: str) -> str:
    """A decimal between 0 and 1: ``0.95`` is ``95 %``."""
    return f"{(Decimal(value) * 100).normalize():f} %"


def metric_names(report: Report) -> list[str]:
    """Every metric that was measured, the one that decides first."""
    others = (name for candidate in report.candidates for name in candidate.scores)
    return list(dict.fromkeys((report.metric, *others)))


def best_baseline(report: Report) -> CandidateReport | None:
    """What the tuned model is compared with: the gate's choice, else the baseline with the highest score."""
    baselines = report.candidates[1:]
    chosen = report.gate.best_baseline if report.gate else None
    named = [baseline for baseline in baselines if baseline.name == chosen]
    scored = [baseline for baseline in baselines if report.metric in baseline.scores]
    return next(iter(named), max(scored, key=lambda one: one.scores[report.metric].mean, default=None))


def candidate_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Titles of the columns and the rows, one a candidate; the first cell of each is its name."""
    metrics = metric_names(report)
    titles = ["Candidate", *metrics, "Tuned wins / losses / ties", "Prompt tokens", "Latency"]
    return titles, [_cells(report, candidate, metrics) for candidate in report.candidates]


def _cells(report: Report, candidate: CandidateReport, metrics: list[str]) -> list[str]:
    versus = candidate.versus.get(report.metric)
    return [
        candidate.name,
        *(with_interval(candidate.scores[name]) if name in candidate.scores else "-" for name in metrics),
        f"{whole(versus.wins)} / {whole(versus.losses)} / {whole(versus.ties)}" if versus else "-",
        whole(candidate.prompt_tokens),
        seconds(candidate.latency_seconds),
    ]


def verdict_title(report: Report) -> str:
    """The verdict in a word or two, with a person's decision."""
    if report.verdict == "Measured":
        return "Measured"
    if report.verdict == "Passed":
        return "Passed"
    return "Not passed, overridden" if report.override else "Not passed"


def override_sentence(report: Report) -> str | None:
    """Who decided what, when and why; None without an override."""
    override = report.override
    if override is None:
        return None
    decided = "to serve it all the same" if report.verdict == "Failed" else "to serve it whatever comes out"
    when = f" on {override.time}" if override.time else ""
    return f"{override.by} decided{when} {decided}: {override.reason}"
