"""NumericMatch: the last number of an answer."""

from __future__ import annotations

import re
from decimal import Decimal

from typing_extensions import override

from ..contract.evaluation import MetricConfig
from .metric import Metric, Said
from .questions import Question

_SEPARATOR = "[,'\u2019\u00a0\u2009\u202f]"
"""Between thousands: comma, apostrophes, and spaces that do not break."""

_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])[-+\u2212])?(?:[$\u20ac\u00a3\u00a5\u20b9](?P<after>[-\u2212])?)?"
    rf"(?P<digits>(?<![\d.])\.\d+|(?:\d{{1,3}}(?:{_SEPARATOR}\d{{3}})+(?!\d)|\d+)(?:\.\d+)?)"
    r"(?P<power>[eE][-+]?\d{1,3}(?![\d\w]))?"
)


def last_number(text: str) -> Decimal | None:
    """The last number of a text, or None.

    1,234.5 and 1'234.5 have separators of thousands, the point is decimal, and -$5 and $-5 are below 0.
    A hyphen after a letter or digit is no sign. Units, currencies and percent signs are not read: 50 % is 50.
    """
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007 - the last one
        pass
    if found is None:
        return None
    digits = re.sub(_SEPARATOR, "", found["digits"])
    number = Decimal(digits + (found["power"] or ""))
    return number if (found["sign"] or found["after"] or "+") == "+" else -number


class NumericMatch(Metric):
    """1 if the last number of the answer is the last of what is expected, or within the tolerance of it."""

    def __init__(self, config: MetricConfig) -> None:
        self.name = config.name
        self._tolerance = Decimal(config.tolerance)

    @override
    def score(self, question: Question, said: Said) -> float:
        answer, expected = last_number(said.text), last_number(question.expected)
        if answer is None or expected is None:
            return 0.0
        return float(abs(answer - expected) <= self._tolerance)

    @override
    def misfit(self, question: Question) -> str | None:
        return None if last_number(question.expected) is not None else "its expected answer has no number"
