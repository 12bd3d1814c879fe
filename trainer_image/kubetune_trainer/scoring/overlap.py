"""Metrics that count common words: TokenF1, RougeL."""

from __future__ import annotations

from collections import Counter

from typing_extensions import override

from ..contract.evaluation import MetricConfig
from .metric import Metric, Said
from .questions import Question
from .words import ALL, normalised, spaced, words


class TokenF1(Metric):
    """Harmonic mean of how many of the answer's words are expected, and how many of the expected were said.

    As SQuAD's script has it (Rajpurkar et al. 2016): words in any order, without case, punctuation and
    articles. In scripts without spaces, characters take the place of words.
    """

    def __init__(self, config: MetricConfig) -> None:
        self.name = config.name

    @override
    def score(self, question: Question, said: Said) -> float:
        answer, expected = _tokens(said.text), _tokens(question.expected)
        common = (Counter(answer) & Counter(expected)).total()
        return 2 * common / (len(answer) + len(expected)) if common else 0.0

    @override
    def misfit(self, question: Question) -> str | None:
        if not question.expected.strip():
            return "its expected answer is empty"
        return None if _tokens(question.expected) else "its expected answer has only articles and punctuation"


class RougeL(Metric):
    """F-measure of the longest common subsequence of words (Lin 2004), by rouge-score, without a stemmer.

    Words of all scripts count, where rouge-score's own tokenizer knows ASCII alone.
    """

    def __init__(self, config: MetricConfig) -> None:
        from rouge_score.rouge_scorer import RougeScorer  # a second of imports, for who asks for it

        self.name = config.name
        self._scorer = RougeScorer(["rougeL"], tokenizer=_Words())

    @override
    def score(self, question: Question, said: Said) -> float:
        return float(self._scorer.score(question.expected, said.text)["rougeL"].fmeasure)

    @override
    def misfit(self, question: Question) -> str | None:
        if not question.expected.strip():
            return "its expected answer is empty"
        return None if words(question.expected) else "its expected answer has no words"


class _Words:
    """A tokenizer as rouge-score asks it."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def _tokens(text: str) -> list[str]:
    return spaced(normalised(text, ALL))
