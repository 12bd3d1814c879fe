"""Whether a result may be served, and the verdict in a sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..contract.errors import InvalidInput
from ..contract.evaluation import TUNED, EvaluationConfig, RegressionConfig, Verdict
from .report import CandidateReport, Check, GateReport, Interval

_NEAR: Final = 1e-9
"""Sums of floats: 0.9 - 0.85 is no more than 0.05."""
_MAX_DROP: Final = "evaluation.gate.mustNotRegress.maxDrop"


def decide(
    config: EvaluationConfig,
    candidates: Sequence[CandidateReport],
    general: Sequence[CandidateReport],
    general_metric: str | None,
) -> tuple[Verdict, str, GateReport | None]:
    """The verdict, a sentence of up to 500 characters, and what the gate found; None without a gate.

    - minScore: the tuned model's mean is at least this.
    - minDelta: the mean difference to the best baseline is above 0, and its interval's lower end at least
      this; above 0 where it is 0. The best is the first of those with the highest mean.
    - mustNotRegress: of its mean over the general questions the base has at most maxDrop more.

    ``general`` are the tuned model and the base.

    Raises:
        InvalidInput: minDelta has no baseline to compare with.
        ValueError: there is a mustNotRegress, and no general questions were asked.
    """
    metric = config.main_metric
    tuned = next(one for one in candidates if one.name == TUNED)
    baselines = [one for one in candidates if one.name != TUNED]
    best = max(baselines, key=lambda one: one.scores[metric].mean) if baselines else None
    percent = f"{float(config.confidence) * 100:g}"
    gate = config.gate
    if gate is None:
        told = _compared(metric, tuned, best, percent) if best else _alone(metric, tuned, percent)
        return "Measured", f"Measured: {told}; there is no gate.", None
    checks = []
    if gate.min_score is not None:
        checks.append(_score(metric, tuned, gate.min_score, percent))
    if gate.min_delta is not None:
        if best is None:
            raise InvalidInput(
                "evaluation.gate.minDelta compares with the best baseline, and evaluation.baselines is "
                "empty: name one, or give evaluation.gate.minScore alone."
            )
        checks.append(_delta(metric, tuned, best, float(gate.min_delta), percent))
    if gate.must_not_regress is not None:
        if general_metric is None:
            raise ValueError("mustNotRegress needs questions of the set General")
        checks.append(_regression(gate.must_not_regress, general, general_metric))
    passed = all(check.passed for check in checks)
    if passed:
        said = "Passed: " + ", and ".join(check.sentence for check in checks) + "."
    else:
        said = "Not passed: " + "; ".join(check.sentence for check in checks if not check.passed) + "."
    report = GateReport(
        metric=metric,
        passed=passed,
        best_baseline=best.name if best else None,
        checks=tuple(check.model_copy(update={"sentence": _sentence(check.sentence)}) for check in checks),
    )
    return "Passed" if passed else "Failed", said, report


def _score(metric: str, tuned: CandidateReport, least: str, percent: str) -> Check:
    own = tuned.scores[metric]
    passed = own.mean >= float(least) - _NEAR
    told = _alone(metric, tuned, percent, float(least))
    end = f" reaches {least}" if passed else f" is below the {least} that evaluation.gate.minScore asks for"
    return Check(name="minScore", passed=passed, sentence=told + end)


def _delta(metric: str, tuned: CandidateReport, best: CandidateReport, delta: float, percent: str) -> Check:
    difference = best.versus[metric].difference
    passed = difference.mean > _NEAR and (
        difference.low >= delta - _NEAR if delta > 0 else difference.low > _NEAR
    )
    told = _compared(metric, tuned, best, percent, delta)
    if not passed:
        asked = f"at least {delta:g}" if delta > 0 else "more than 0"
        told += f", and evaluation.gate.minDelta asks for {asked} at its lower end"
    return Check(name="minDelta", passed=passed, sentence=told)


def _regression(config: RegressionConfig, general: Sequence[CandidateReport], metric: str) -> Check:
    by_name = {one.name: one for one in general}
    own, base = by_name[TUNED].scores[metric], by_name["Base"].scores[metric]
    drop, most = base.mean - own.mean, float(config.max_drop)
    passed = drop <= most + _NEAR
    digits = _digits((own.mean, base.mean), (drop, most))
    what = "the general questions" if config.data is None else "the rows of gate.mustNotRegress"
    scores = f"from {base.mean:.{digits}f} to {own.mean:.{digits}f}"
    if drop <= -_NEAR:
        told = f"{what} gained {-drop:.{digits}f} ({scores})"
    elif passed:
        told = f"{what} lost {abs(drop):.{digits}f} ({scores}, at most {config.max_drop})"
    else:
        told = f"{what} lost {drop:.{digits}f} ({scores}), and {_MAX_DROP} is {config.max_drop}"
    return Check(name="mustNotRegress", passed=passed, sentence=told)


def _compared(
    metric: str, tuned: CandidateReport, best: CandidateReport, percent: str, delta: float = 0.0
) -> str:
    """Both numbers and the interval of their difference, whose lower end is compared with ``delta``."""
    own, other, versus = tuned.scores[metric].mean, best.scores[metric].mean, best.versus[metric].difference
    digits = _digits((own, other), (versus.low, delta))
    by = f"{abs(versus.mean):.{digits}f}"
    how = f"{by} above" if versus.mean > _NEAR else f"{by} below" if versus.mean < -_NEAR else "no more than"
    return (
        f"{metric} {own:.{digits}f} is {how} {best.name}'s {other:.{digits}f} "
        f"({_between(versus, percent, digits)})"
    )


def _alone(metric: str, tuned: CandidateReport, percent: str, least: float = 0.0) -> str:
    own = tuned.scores[metric]
    digits = _digits((own.mean, least))
    return f"{metric} {own.mean:.{digits}f} ({_between(own, percent, digits)})"


def _between(interval: Interval, percent: str, digits: int) -> str:
    low, high = (f"{round(end, digits) + 0.0:.{digits}f}" for end in (interval.low, interval.high))
    return f"{percent} % interval {low} to {high}"


def _digits(*compared: tuple[float, float]) -> int:
    """So many decimals that numbers which differ, by more than sums of floats do, look different: 2 to 4."""
    pairs = [(one, other) for one, other in compared if abs(one - other) > _NEAR]
    enough = (digits for digits in (2, 3) if all(round(a, digits) != round(b, digits) for a, b in pairs))
    return next(enough, 4)


def _sentence(phrase: str) -> str:
    """By itself; a metric's name stays as it is."""
    return f"{re.sub('^the ', 'The ', phrase)}."
