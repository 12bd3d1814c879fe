"""Metrics of texts, against the vectors that their authors published."""

from __future__ import annotations

import re
import string
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from kubetune_trainer.contract.errors import InvalidInput
from kubetune_trainer.contract.evaluation import Ignored, MetricConfig, MetricType
from kubetune_trainer.scoring.metrics import METRICS, metric_of
from kubetune_trainer.scoring.words import ALL, normalised
from tests.support.scored_questions import metric, score, why_not

ASCII = st.text(st.characters(max_codepoint=127), max_size=60)
WORDS = st.lists(st.sampled_from(["The", "a", "cat", "sat.", "on", "mat", "3.5"]), max_size=8).map(" ".join)

EXACT, F1, ROUGE = metric("ExactMatch", ignore=ALL), metric("TokenF1"), metric("RougeL")


def test_every_type_but_the_judge_has_its_rule() -> None:
    assert {*METRICS, "Judge"} == {*get_args(MetricType)}


@pytest.mark.parametrize(
    ("ignore", "expected", "said", "worth"),
    [
        ((), "Paris", "Paris", 1),
        ((), "Paris", "Paris ", 0),
        ((), "caf\u00e9", "cafe\u0301", 1),  # two spellings of the same letters
        (("Whitespace",), "New York", " New\n York ", 1),
        (("Whitespace",), "Paris", "paris", 0),
        (("Case",), "PARIS", "paris", 1),
        (("Case",), "STRASSE", "straße", 1),
        (("Punctuation",), "Paris", "«Paris».", 1),
        (("Punctuation",), "Paris", "Paris!\n", 0),
        (("Articles", "Whitespace"), "The Seine", "Seine", 1),
        (("Articles", "Whitespace"), "theatre", "atre", 0),
    ],
)
def test_an_exact_match_ignores_what_it_is_told_to(
    ignore: tuple[Ignored, ...], expected: str, said: str, worth: float
) -> None:
    assert score(metric("ExactMatch", ignore=ignore), expected, said) == worth


@given(ASCII)
def test_all_that_can_be_ignored_is_what_squads_script_ignores(text: str) -> None:
    """Lower case, punctuation out, articles out, spaces put right, in the order of evaluate-v1.1.py."""
    text_without = "".join(mark for mark in text.lower() if mark not in string.punctuation)
    as_published = " ".join(re.sub(r"\b(a|an|the)\b", " ", text_without).split())

    assert normalised(text, ALL) == as_published


@pytest.mark.parametrize(
    ("expected", "said", "exact", "f1"),
    [
        # the metric card of SQuAD v1.1
        ("1976", "1976", 1, 1),
        ("Beyoncé and Bruno Mars", "Beyonce", 0, 0),
        ("climate change", "climate change", 1, 1),
        # its paper's kinds of answers, by the formula
        ("Denver Broncos", "The Denver Broncos!", 1, 1),
        ("a golden statue of the Virgin Mary", "golden statue", 0, 4 / 7),
        ("Rock n Roll", "rock", 0, 1 / 2),
        ("gravity", "within a cloud", 0, 0),
        ("the the cat", "cat cat", 0, 2 / 3),
        # scripts without spaces
        ("東京都", "東京", 0, 4 / 5),
    ],
)
def test_squads_vectors(expected: str, said: str, exact: float, f1: float) -> None:
    assert score(EXACT, expected, said) == exact
    assert score(F1, expected, said) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("expected", "said", "worth"),
    [
        # Lin 2004, section 3.2: S1 against S2, S3 and S4
        ("police killed the gunman", "police kill the gunman", 3 / 4),
        ("police killed the gunman", "the gunman kill police", 2 / 4),
        ("police killed the gunman", "the gunman police killed", 2 / 4),
        # rouge-score's own tests
        ("testing one two", "testing one", 4 / 5),
        ("testing one two", "testing two", 4 / 5),
        ("testing one two", "", 0),
        ("w1 w2 w3 w4 w5", "/", 0),
        # what its tokenizer would not see
        ("Привет, мир", "привет мир", 1),
        ("東京都", "東京", 4 / 5),
        ("Größe", "gr e", 0),
    ],
)
def test_rouge_ls_vectors(expected: str, said: str, worth: float) -> None:
    assert score(ROUGE, expected, said) == pytest.approx(worth)


@given(WORDS | ASCII, WORDS | ASCII)
def test_of_ascii_rouge_l_is_rouge_scores(expected: str, said: str) -> None:
    published = RougeScorer(["rougeL"]).score(expected, said)["rougeL"].fmeasure

    assert score(ROUGE, expected, said) == published


@pytest.mark.parametrize(
    ("ignore", "expected", "said", "worth"),
    [
        (ALL, "Paris", "It is paris, I think.", 1),
        (ALL, "4", "It is 14.", 0),
        (ALL, "4", "It is 4.", 1),
        (ALL, "no", "I know that.", 0),
        (ALL, "South America", "in south\namerica", 1),
        (ALL, "the Seine", "Seine", 1),
        (ALL, "東京", "私は東京に住む", 1),
        ((), "+5 V", "use +5 V here", 1),
        ((), "(x)", "f(x)", 1),
        ((), "Paris", "paris", 0),
    ],
)
def test_what_is_contained_is_whole_words(
    ignore: tuple[Ignored, ...], expected: str, said: str, worth: float
) -> None:
    assert score(metric("Contains", ignore=ignore), expected, said) == worth


@pytest.mark.parametrize(
    ("pattern", "expected", "said", "worth"),
    [
        (r"\d{4}-\d\d", "", "in 2024-05", 1),
        (r"\d{4}-\d\d", "", "in May", 0),
        (r"label: (\w+)", "label: spam", "I say label: spam because", 1),
        (r"label: (\w+)", "label: spam", "label: ham", 0),
        (r"label: (\w+)", "label: spam", "spam", 0),
        (r"(?i)(yes|no)", "yes", "Yes", 0),  # it is captured as it stands
        (r"(\w+) (?:and|&) (\w+)", "a and b", "a & b", 1),
        (r"(\w+) (?:and|&) (\w+)", "a and b", "a & c", 0),
    ],
)
def test_a_pattern_is_searched_and_its_groups_are_compared(
    pattern: str, expected: str, said: str, worth: float
) -> None:
    assert score(metric("Regex", pattern=pattern), expected, said) == worth


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (None, "evaluation.metrics[m].pattern is missing: say what is searched in an answer."),
        ("(", "evaluation.metrics[m].pattern is no regular expression: missing ) at position 1."),
    ],
)
def test_a_pattern_that_is_none_is_told(pattern: str | None, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        metric_of(metric("Regex", pattern=pattern))

    assert str(caught.value) == sentence


@pytest.mark.slow
def test_a_pattern_that_takes_for_ever_is_told() -> None:
    """Alternatives that overlap, within a repetition: each letter takes 1.6 times the steps."""
    endless = metric("Regex", pattern=r"^(?:a|aa)+$")
    with pytest.raises(InvalidInput) as caught:
        score(endless, "", "a" * 60 + "!")

    assert str(caught.value) == (
        "evaluation.metrics[m].pattern takes more than 1 s to search one answer: write it without "
        "repetitions inside of repetitions."
    )


@pytest.mark.parametrize(
    ("config", "expected", "why"),
    [
        (metric("ExactMatch"), " ", "its expected answer is empty"),
        (metric("ExactMatch"), "A", None),
        (EXACT, "A", "nothing is left of its expected answer without what the metric's ignore lists"),
        (
            metric("Contains", ignore=("Punctuation",)),
            "?!",
            "nothing is left of its expected answer without what the metric's ignore lists",
        ),
        (F1, "", "its expected answer is empty"),
        (F1, "The.", "its expected answer has only articles and punctuation"),
        (F1, "Paris", None),
        (ROUGE, "", "its expected answer is empty"),
        (ROUGE, "...", "its expected answer has no words"),
        (ROUGE, "東京", None),
        (metric("NumericMatch"), "four", "its expected answer has no number"),
        (metric("NumericMatch"), "#### 4", None),
        (metric("ToolCall"), "text", "its expected answer calls no tool"),
        (metric("Regex", pattern="b"), "", None),
        (metric("Regex", pattern="b"), "abc", None),
        (metric("Regex", pattern="x"), "abc", "the metric's pattern is not found in its expected answer"),
        (metric("Regex", pattern="(x)"), "", "the metric's pattern is not found in its expected answer"),
        (
            metric("Regex", pattern="(x*)"),
            "abc",
            "the groups of the metric's pattern capture nothing in its expected answer",
        ),
        (metric("Judge"), "", None),
    ],
)
def test_a_question_that_cannot_be_scored_is_told(
    config: MetricConfig, expected: str, why: str | None
) -> None:
    assert why_not(config, expected) == why


@given(WORDS | ASCII)
def test_what_is_expected_is_worth_all_where_it_can_be_scored(expected: str) -> None:
    for config in (
        metric("ExactMatch"),
        EXACT,
        metric("Contains", ignore=ALL),
        metric("Contains"),
        F1,
        ROUGE,
    ):
        if why_not(config, expected) is None:
            assert score(config, expected, expected) == pytest.approx(1)
