"""Metrics that say yes or no to a text: ExactMatch, Contains, Regex."""

from __future__ import annotations

import regex
from typing_extensions import override

from ..contract.errors import InvalidInput, first_line
from ..contract.evaluation import MetricConfig
from .bounded import bounded_search
from .metric import Metric, Said
from .questions import Question
from .words import normalised, stands_in


class ExactMatch(Metric):
    """1 if the answer is what is expected, but for what is ignored."""

    def __init__(self, config: MetricConfig) -> None:
        self.name = config.name
        self._ignore = config.ignore

    @override
    def score(self, question: Question, said: Said) -> float:
        return float(self._of(said.text) == self._of(question.expected))

    @override
    def misfit(self, question: Question) -> str | None:
        if not question.expected.strip():
            return "its expected answer is empty"
        if not self._of(question.expected).strip():
            return "nothing is left of its expected answer without what the metric's ignore lists"
        return None

    def _of(self, text: str) -> str:
        return normalised(text, self._ignore)


class Contains(ExactMatch):
    """1 if what is expected stands in the answer as whole words, but for what is ignored: 4 is not in 14."""

    @override
    def score(self, question: Question, said: Said) -> float:
        return float(stands_in(self._of(question.expected), self._of(said.text)))


class Regex(Metric):
    """1 if the pattern is found in the answer, and its groups capture the same there as in what is expected.

    The pattern is Python's, and is searched anywhere. Groups are compared if it has any.

    Raises:
        InvalidInput: there is no pattern, or it is none.
    """

    def __init__(self, config: MetricConfig) -> None:
        self.name = config.name
        self._field = f"evaluation.metrics[{config.name}].pattern"
        if not config.pattern:
            raise InvalidInput(f"{self._field} is missing: say what is searched in an answer.")
        try:
            self._pattern = regex.compile(config.pattern)
        except regex.error as error:
            raise InvalidInput(f"{self._field} is no regular expression: {first_line(error)}.") from None

    @override
    def score(self, question: Question, said: Said) -> float:
        found = self._search(said.text)
        if found is None or not self._pattern.groups:
            return float(found is not None)
        expected = self._search(question.expected)
        return float(expected is not None and found.groups() == expected.groups())

    @override
    def misfit(self, question: Question) -> str | None:
        if not question.expected.strip() and not self._pattern.groups:
            return None
        found = self._search(question.expected)
        if found is None:
            return "the metric's pattern is not found in its expected answer"
        if self._pattern.groups and not any(found.groups()):
            return "the groups of the metric's pattern capture nothing in its expected answer"
        return None

    def _search(self, text: str) -> regex.Match[str] | None:
        return bounded_search(self._pattern, text, self._field)
