"""The gate: what passes, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune_trainer.contract.errors import InvalidInput
from kubetune_trainer.contract.evaluation import (
    BaselineConfig,
    EvaluationConfig,
    EvaluationData,
    FileSource,
    GateConfig,
    MetricConfig,
)
from kubetune_trainer.scoring.gate import decide
from kubetune_trainer.scoring.report import CandidateReport, Check, GateReport, Interval, Versus

METRIC = "ExactMatch"
BASELINES = (BaselineConfig(type="Base"), BaselineConfig(type="FewShot", examples=4))


def config(**gate: Any) -> EvaluationConfig:
    metrics = (MetricConfig(name="RougeL", type="RougeL"), MetricConfig(name=METRIC, type="ExactMatch"))
    return EvaluationConfig(
        metrics=metrics, baselines=BASELINES, gate=GateConfig(metric=METRIC, **gate) if gate else None
    )


def candidate(
    name: str,
    mean: float,
    low: float = 0,
    high: float = 1,
    *,
    difference: Interval | None = None,
    metric: str = METRIC,
) -> CandidateReport:
    score = Interval(mean=mean, low=low, high=high)
    versus = {metric: Versus(difference=difference, wins=0, losses=0, ties=0)} if difference else {}
    return CandidateReport(
        name=name,
        model=name.lower(),
        scores={metric: score},
        versus=versus,
        prompt_tokens=1,
        completion_tokens=1,
        latency_seconds=1,
        seconds_per_request=1,
    )


def pair(tuned: float, base: float, low: float, high: float) -> list[CandidateReport]:
    """The tuned model and the base, with the interval of their difference."""
    difference = Interval(mean=tuned - base, low=low, high=high)
    return [
        candidate("Tuned", tuned, tuned - 0.08, tuned + 0.08),
        candidate("Base", base, difference=difference),
    ]


def general(tuned: float, base: float) -> list[CandidateReport]:
    difference = Interval(mean=tuned - base, low=-1, high=1)
    return [
        candidate("Tuned", tuned, metric="Contains"),
        candidate("Base", base, difference=difference, metric="Contains"),
    ]


def test_a_result_that_is_better_and_has_forgotten_little_passes() -> None:
    asked = config(min_delta="0.1", must_not_regress={"max_drop": "0.05"})
    few = candidate("FewShot", 0.57, difference=Interval(mean=0.21, low=0.12, high=0.3))
    candidates = [*pair(0.78, 0.30, 0.40, 0.55), few]

    verdict, said, report = decide(asked, candidates, general(0.84, 0.85), "Contains")

    assert verdict == "Passed"
    assert said == (
        "Passed: ExactMatch 0.78 is 0.21 above FewShot's 0.57 (95 % interval 0.12 to 0.30), and the general "
        "questions lost 0.01 (from 0.85 to 0.84, at most 0.05)."
    )
    assert report == GateReport(
        metric=METRIC,
        passed=True,
        best_baseline="FewShot",
        checks=(
            Check(
                name="minDelta",
                passed=True,
                sentence="ExactMatch 0.78 is 0.21 above FewShot's 0.57 (95 % interval 0.12 to 0.30).",
            ),
            Check(
                name="mustNotRegress",
                passed=True,
                sentence="The general questions lost 0.01 (from 0.85 to 0.84, at most 0.05).",
            ),
        ),
    )


@pytest.mark.parametrize(
    ("gate", "candidates", "said"),
    [
        (
            {"min_delta": "0.05"},
            pair(0.40, 0.45, -0.11, 0.01),
            "Not passed: ExactMatch 0.40 is 0.05 below Base's 0.45 (95 % interval -0.11 to 0.01), and "
            "evaluation.gate.minDelta asks for at least 0.05 at its lower end.",
        ),
        (
            {"min_delta": "0"},
            pair(0.48, 0.45, -0.002, 0.06),
            "Not passed: ExactMatch 0.480 is 0.030 above Base's 0.450 (95 % interval -0.002 to 0.060), and "
            "evaluation.gate.minDelta asks for more than 0 at its lower end.",
        ),
        (
            {"min_delta": "0", "confidence": "0.999"},
            pair(0.45, 0.45, 0.0, 0.0),
            "Not passed: ExactMatch 0.45 is no more than Base's 0.45 (99.9 % interval 0.00 to 0.00), and "
            "evaluation.gate.minDelta asks for more than 0 at its lower end.",
        ),
        (
            {"min_delta": "0.05"},
            pair(0.50, 0.45, 0.049, 0.06),
            "Not passed: ExactMatch 0.500 is 0.050 above Base's 0.450 (95 % interval 0.049 to 0.060), and "
            "evaluation.gate.minDelta asks for at least 0.05 at its lower end.",
        ),
        (
            {"min_score": "0.6"},
            pair(0.599, 0.1, 0.2, 0.3),
            "Not passed: ExactMatch 0.599 (95 % interval 0.519 to 0.679) is below the 0.6 that "
            "evaluation.gate.minScore asks for.",
        ),
        (
            {"min_score": "0.6", "min_delta": "0"},
            pair(0.5, 0.5, -0.1, 0.1),
            "Not passed: ExactMatch 0.50 (95 % interval 0.42 to 0.58) is below the 0.6 that "
            "evaluation.gate.minScore asks for; ExactMatch 0.50 is no more than Base's 0.50 (95 % interval "
            "-0.10 to 0.10), and evaluation.gate.minDelta asks for more than 0 at its lower end.",
        ),
    ],
)
def test_what_does_not_pass_is_told_with_its_numbers(
    gate: dict[str, Any], candidates: list[CandidateReport], said: str
) -> None:
    verdict, sentence, report = decide(config(**gate), candidates, [], None)

    assert verdict == "Failed"
    assert sentence == said
    assert report is not None
    assert not report.passed


@pytest.mark.parametrize(
    ("gate", "candidates"),
    [
        ({"min_score": "0.7"}, pair(0.1 + 0.6, 0.9, -1, 1)),  # in floats less than 0.7
        ({"min_score": "0.7"}, pair(0.7, 0.9, -0.3, -0.1)),  # nothing is compared
        ({"min_delta": "0.05"}, pair(0.9, 0.8, 0.05, 0.2)),
        ({"min_delta": "0"}, pair(0.9, 0.8, 0.001, 0.2)),
        ({"confidence": "0.9"}, pair(0.9, 0.8, 0.001, 0.2)),
    ],
)
def test_limits_themselves_pass(gate: dict[str, Any], candidates: list[CandidateReport]) -> None:
    assert decide(config(**gate), candidates, [], None)[0] == "Passed"


def test_a_gate_without_conditions_asks_for_more_than_the_best_baseline() -> None:
    verdict, said, _ = decide(config(confidence="0.9"), pair(0.9, 0.8, 0.0, 0.2), [], None)

    assert verdict == "Failed"
    assert "evaluation.gate.minDelta asks for more than 0" in said


@pytest.mark.parametrize(
    ("tuned", "base", "passed", "sentence"),
    [
        (0.85, 0.90, True, "The general questions lost 0.05 (from 0.90 to 0.85, at most 0.05)."),
        (0.90, 0.85, True, "The general questions gained 0.05 (from 0.85 to 0.90)."),
        (0.85, 0.85, True, "The general questions lost 0.00 (from 0.85 to 0.85, at most 0.05)."),
        (
            0.40,
            0.85,
            False,
            "The general questions lost 0.45 (from 0.85 to 0.40), and evaluation.gate.mustNotRegress.maxDrop "
            "is 0.05.",
        ),
        (
            0.848,
            0.90,
            False,
            "The general questions lost 0.052 (from 0.900 to 0.848), and "
            "evaluation.gate.mustNotRegress.maxDrop is 0.05.",
        ),
    ],
)
def test_a_model_may_forget_so_much(tuned: float, base: float, passed: bool, sentence: str) -> None:
    asked = config(must_not_regress={"max_drop": "0.05"})

    _, _, report = decide(asked, pair(0.9, 0.8, -1, 1), general(tuned, base), "Contains")

    assert report is not None
    assert report.checks == (Check(name="mustNotRegress", passed=passed, sentence=sentence),)


def test_questions_of_ones_own_are_not_called_general() -> None:
    data = EvaluationData(source=FileSource(uri="pvc://d/old.jsonl"))
    asked = config(must_not_regress={"max_drop": "0", "data": data})

    said = decide(asked, pair(0.9, 0.8, -1, 1), general(0.6, 0.5), "Contains")[1]

    assert said == "Passed: the rows of gate.mustNotRegress gained 0.10 (from 0.50 to 0.60)."


def test_the_baseline_to_beat_is_the_best_and_the_first_of_equals() -> None:
    difference = Interval(mean=0.1, low=0.05, high=0.2)
    candidates = [
        candidate("Tuned", 0.8),
        candidate("Base", 0.6, difference=difference),
        candidate("FewShot", 0.7, difference=difference),
        candidate("Retrieval", 0.7, difference=difference),
    ]

    _, said, report = decide(config(min_delta="0"), candidates, [], None)

    assert report is not None
    assert report.best_baseline == "FewShot"
    assert "FewShot's 0.70" in said


def test_without_a_gate_the_numbers_are_told() -> None:
    measured = config().model_copy(update={"metrics": config().metrics[1:]})

    assert decide(measured, pair(0.4, 0.45, -0.11, 0.01), [], None) == (
        "Measured",
        "Measured: ExactMatch 0.40 is 0.05 below Base's 0.45 (95 % interval -0.11 to 0.01); there is no "
        "gate.",
        None,
    )
    assert decide(measured, pair(0.4, 0.45, -0.11, 0.01)[:1], [], None)[1] == (
        "Measured: ExactMatch 0.40 (95 % interval 0.32 to 0.48); there is no gate."
    )


def test_a_comparison_with_nothing_is_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        decide(config(min_delta="0"), pair(0.4, 0.4, 0, 0)[:1], [], None)

    assert str(caught.value) == (
        "evaluation.gate.minDelta compares with the best baseline, and evaluation.baselines is empty: name "
        "one, or give evaluation.gate.minScore alone."
    )


def test_a_gate_is_not_passed_by_questions_that_were_not_asked() -> None:
    with pytest.raises(ValueError, match="needs questions of the set General"):
        decide(config(must_not_regress={"max_drop": "0.05"}), pair(0.9, 0.8, 0.01, 0.2), [], None)


def test_a_metrics_name_is_told_as_it_was_given() -> None:
    asked = EvaluationConfig(
        metrics=(MetricConfig(name="intent", type="ExactMatch"),),
        gate=GateConfig(metric="intent", min_score="0.5"),
    )

    _, said, report = decide(asked, [candidate("Tuned", 0.6, 0.5, 0.7, metric="intent")], [], None)

    assert said == "Passed: intent 0.60 (95 % interval 0.50 to 0.70) reaches 0.5."
    assert report is not None
    assert report.checks[0].sentence == "intent 0.60 (95 % interval 0.50 to 0.70) reaches 0.5."


def test_the_longest_sentence_fits_where_it_is_kept() -> None:
    """Three failed checks, numbers with four decimals, and a metric's name of 63 characters."""
    name = "m" * 63
    asked = EvaluationConfig(
        metrics=(MetricConfig(name=name, type="ExactMatch"),),
        gate=GateConfig(
            metric=name, min_score="0.50004", min_delta="0.00001", must_not_regress={"max_drop": "0.01001"}
        ),
    )
    difference = Interval(mean=-0.00001, low=-0.000011, high=0.2)
    tuned = candidate("Tuned", 0.50001, metric=name)
    base = candidate("Base", 0.50002, difference=difference, metric=name)

    said = decide(asked, [tuned, base], general(0.3, 0.9), "Contains")[1]

    assert said.count(";") == 2
    assert len(said) <= 500
