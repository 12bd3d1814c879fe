"""What the operator is told of an evaluation: the numbers of the metric that decides. Pure."""

from __future__ import annotations

from ..contract.evaluation import CandidateSummary, EvaluateSummary
from ..scoring.report import CandidateReport, Report

_WARNINGS = 5
_SAID = 1024


def summary_of(report: Report, directory: str) -> EvaluateSummary:
    """Summarise a report that lies in a directory, which is named relative to the output volume."""
    saved = report.price.tokens_saved_per_request if report.price else 0
    return EvaluateSummary(
        artifact=report.artifact,
        metric=report.metric,
        rows=report.rows,
        candidates=tuple(_candidate(each, report.metric) for each in report.candidates),
        verdict=report.verdict,
        said=report.said[:_SAID],
        report=directory,
        override=report.override,
        tokens_saved_per_request=max(0, round(saved)),
        warnings=tuple(warning[:_SAID] for warning in report.warnings[:_WARNINGS]),
    )


def _candidate(candidate: CandidateReport, metric: str) -> CandidateSummary:
    score, versus = candidate.scores[metric], candidate.versus.get(metric)
    return CandidateSummary(
        name=candidate.name,
        score=_score(score.mean),
        low=_score(score.low),
        high=_score(score.high),
        wins=versus.wins if versus else None,
        losses=versus.losses if versus else None,
        ties=versus.ties if versus else None,
        prompt_tokens=round(candidate.prompt_tokens),
        latency_seconds=_score(candidate.latency_seconds),
        seconds_per_request=_score(candidate.seconds_per_request),
        scores={name: _score(each.mean) for name, each in candidate.scores.items()},
    )


def _score(value: float) -> str:
    return f"{value:.4f}"
