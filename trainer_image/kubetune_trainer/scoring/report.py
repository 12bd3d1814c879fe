"""report.json and rows.jsonl: what an evaluation found, for people, pages and programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..contract.evaluation import EvaluationConfig, Override, Verdict

REPORT_VERSION: Literal[1] = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Interval(_Part):
    """A mean and the interval that holds it with the evaluation's confidence."""

    mean: float
    low: float
    high: float


class Versus(_Part):
    """The tuned model against another candidate, row by row, by one metric."""

    difference: Interval
    """Tuned less the other."""
    wins: int
    """Rows in which the tuned model scores higher."""
    losses: int
    ties: int


class CandidateReport(_Part):
    """One candidate over all questions of a set."""

    name: str
    """``Tuned`` or a baseline's type."""
    model: str
    """Name in the server."""
    scores: dict[str, Interval]
    """By the metric's name; scores are from 0 to 1."""
    versus: dict[str, Versus] = Field(default_factory=dict)
    """The tuned model against this one, by the metric's name; empty for the tuned model."""
    prompt_tokens: float
    """Mean of a prompt, as the server counts."""
    completion_tokens: float
    latency_seconds: float
    """Mean of a request."""
    seconds_per_request: float
    """Time from the first request to the last answer, divided by their number."""
    cut: int = 0
    """Answers that ended at generation.maxTokens."""


class Check(_Part):
    """One of the gate's conditions."""

    name: Literal["minScore", "minDelta", "mustNotRegress"]
    passed: bool
    sentence: str
    """With both numbers and the interval."""


class GateReport(_Part):
    """Whether the result may be served."""

    metric: str
    passed: bool
    best_baseline: str | None = None
    """Name of the baseline with the highest score, which the tuned model is compared with."""
    checks: tuple[Check, ...]


class Unstable(_Part):
    """Answers of the tuned model that differed when the same was asked twice."""

    asked: int
    differ: int


class Price(_Part):
    """What the prompts with examples cost that the tuned model does without."""

    alternative: str
    """The best baseline with examples in its prompt."""
    tokens_saved_per_request: float
    seconds_saved_per_request: float
    """Of the server's time; below 0 where the tuned model takes longer."""


class Report(_Part):
    """report.json."""

    version: Literal[1] = REPORT_VERSION
    name: str
    namespace: str
    use_case: str | None = None
    created: datetime
    verdict: Verdict
    said: str
    """The verdict in a sentence, with its numbers."""
    artifact: str
    """Digest of what was evaluated, which the server proved to have."""
    canary: str | None = None
    """What the server said of itself: that it answers as training measured, or why that is not proven."""
    source: str | None = None
    """Folder and digest of an artifact that was trained elsewhere; None where the job has trained it."""
    artifact_type: str
    base_model: str
    base_revision: str
    data: str
    """Where the evaluation's rows are from."""
    rows: int
    """Questions of the set Main."""
    general_rows: int = 0
    leaked_rows: int = 0
    """Rows of the evaluation that stand in the training rows as well."""
    metric: str
    """The one that decides, or is shown first."""
    config: EvaluationConfig
    candidates: tuple[CandidateReport, ...]
    """The tuned model first."""
    general: tuple[CandidateReport, ...] = ()
    """The tuned model and the base over the questions of the set General."""
    general_metric: str | None = None
    gate: GateReport | None = None
    price: Price | None = None
    unstable: Unstable | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    """TrainingConfig, as it was resolved."""
    dataset: dict[str, Any] = Field(default_factory=dict)
    """DatasetSummary of prepare."""
    losses: tuple[tuple[int, float | None, float | None], ...] = ()
    """Step, training loss and validation loss; at most 500 points."""
    override: Override | None = None
    warnings: tuple[str, ...] = ()


class RowAnswer(_Part):
    """What one candidate answered to one question."""

    answer: str
    tool_calls: tuple[dict[str, Any], ...] = ()
    scores: dict[str, float]
    finish_reason: str | None = None
    prompt_tokens: int
    completion_tokens: int
    latency_seconds: float


class ReportRow(_Part):
    """A line of rows.jsonl."""

    id: str
    set: Literal["Main", "General"] = "Main"
    file: str
    line: int
    turn: int
    leak: str | None = None
    prompt: tuple[dict[str, Any], ...]
    """Messages of the prompt without examples; of plain text one with the role ``text``."""
    expected: str
    expected_calls: tuple[dict[str, Any], ...] = ()
    candidates: dict[str, RowAnswer]
    """By the candidate's name."""
