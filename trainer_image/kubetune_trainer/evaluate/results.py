"""From answers and scores to the table of candidates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..contract.evaluation import TUNED
from ..scoring import statistics
from ..scoring.questions import PLAIN, Question
from ..scoring.report import CandidateReport, Price, ReportRow, RowAnswer, Unstable
from .candidates import Candidate
from .server import Answer

SEED = 0
"""Of resampling: the same scores have the same intervals."""

_CUT = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """All that one candidate answered to the questions of a set, in their order."""

    candidate: Candidate
    answers: tuple[Answer, ...]
    asked: tuple[Answer, ...]
    """Each answer that was asked for, once: also what was asked twice, and not what two rows share."""
    scores: Mapping[str, tuple[float | None, ...]]
    """By the metric's name; None where a judge gave no grade."""


def table(papers: Sequence[Paper], *, confidence: float) -> tuple[CandidateReport, ...]:
    """The candidates of a set; the first is the tuned model.

    A question that one of them has no grade for is left out of that metric for all of them.
    """
    kept = {metric: _graded(papers, metric) for metric in papers[0].scores}

    def scores(paper: Paper, metric: str) -> list[float]:
        return [
            score
            for score, keep in zip(paper.scores[metric], kept[metric], strict=True)
            if keep and score is not None
        ]

    return tuple(
        CandidateReport(
            name=paper.candidate.name,
            model=paper.candidate.model,
            scores={
                metric: statistics.interval(scores(paper, metric), confidence=confidence, seed=SEED)
                for metric in kept
            },
            versus={}
            if paper.candidate.name == TUNED
            else {
                metric: statistics.versus(
                    scores(papers[0], metric), scores(paper, metric), confidence=confidence, seed=SEED
                )
                for metric in kept
            },
            prompt_tokens=fmean(answer.prompt_tokens for answer in paper.answers),
            completion_tokens=fmean(answer.completion_tokens for answer in paper.answers),
            latency_seconds=fmean(answer.seconds for answer in paper.answers),
            seconds_per_request=busy_seconds(paper.asked) / len(paper.asked),
            cut=sum(answer.finish_reason == _CUT for answer in paper.answers),
        )
        for paper in papers
    )


def ungraded(papers: Sequence[Paper]) -> dict[str, int]:
    """Questions that are left out of a metric, by its name; none of them is 0."""
    counts = {metric: _graded(papers, metric).count(False) for metric in papers[0].scores}
    return {metric: count for metric, count in counts.items() if count}


def _graded(papers: Sequence[Paper], metric: str) -> list[bool]:
    return [None not in scores for scores in zip(*(paper.scores[metric] for paper in papers), strict=True)]


def busy_seconds(answers: Sequence[Answer]) -> float:
    """Seconds during which at least one of the answers was under way: pauses between attempts are none."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted((answer.started, answer.started + answer.seconds) for answer in answers):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def unstable(pairs: Sequence[tuple[Answer, Answer]]) -> Unstable:
    """How many answers differ from those to the same question, asked again."""
    differ = sum(one.said != two.said for one, two in pairs)
    return Unstable(asked=len(pairs), differ=differ)


def price(candidates: Sequence[CandidateReport], metric: str) -> Price | None:
    """What the best of the candidates with examples in their prompts costs more than the tuned model."""
    tuned, *others = candidates
    with_examples = [each for each in others if each.name != "Base"]
    if not with_examples:
        return None
    best = max(with_examples, key=lambda each: each.scores[metric].mean)
    return Price(
        alternative=best.name,
        tokens_saved_per_request=best.prompt_tokens - tuned.prompt_tokens,
        seconds_saved_per_request=best.seconds_per_request - tuned.seconds_per_request,
    )


def rows(questions: Sequence[Question], papers: Sequence[Paper]) -> list[ReportRow]:
    """Lines of rows.jsonl."""
    return [_row(question, index, papers) for index, question in enumerate(questions)]


def _row(question: Question, index: int, papers: Sequence[Paper]) -> ReportRow:
    prompt = question.prompts[PLAIN]
    return ReportRow(
        id=question.id,
        set=question.set,
        file=question.file,
        line=question.line,
        turn=question.turn,
        leak=question.leak,
        prompt=prompt.messages or ({"role": "text", "content": prompt.text or ""},),
        expected=question.expected,
        expected_calls=question.expected_calls,
        candidates={paper.candidate.name: _row_answer(paper, index) for paper in papers},
    )


def _row_answer(paper: Paper, index: int) -> RowAnswer:
    answer = paper.answers[index]
    scores = {metric: scores[index] for metric, scores in paper.scores.items()}
    return RowAnswer(
        answer=answer.text,
        tool_calls=answer.tool_calls,
        scores={metric: score for metric, score in scores.items() if score is not None},
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        latency_seconds=answer.seconds,
    )
