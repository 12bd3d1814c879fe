"""status.evaluation: what the evaluation found, and a person's decision against its gate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kubetune.api.base import ATOMIC, StatusModel, first
from kubetune.api.v1alpha1.bounds import Int, Message, Number, Short, Uri
from kubetune_trainer.contract.evaluation import Verdict


class CandidateStatus(StatusModel):
    """What one candidate came to by the metric that decides."""

    name: Short
    """Tuned, Base, FewShot or Retrieval."""
    score: Number | None = None
    """Mean score, from 0 to 1."""
    low: Number | None = None
    """Lower end of the interval that holds it with the confidence that is asked for."""
    high: Number | None = None
    """Upper end."""
    wins: Int | None = None
    """Questions that the tuned model answers better than this one."""
    losses: Int | None = None
    """Questions that it answers worse."""
    ties: Int | None = None
    """Questions without a difference."""
    prompt_tokens: Int | None = None
    """Mean tokens of a prompt."""
    latency_seconds: Number | None = None
    """Mean time of a request."""
    seconds_per_request: Number | None = None
    """Time of the server: of all requests together, by their number."""
    scores: Annotated[dict[str, Number], Field(max_length=8), first(8)] | None = None
    """Mean score by each metric."""


class EvaluationPlanStatus(StatusModel):
    """What the evaluation will ask, and what its numbers can show, as prepare found it."""

    rows: Int | None = None
    """Questions that every candidate is asked."""
    prompt_tokens: Annotated[dict[str, Int], Field(max_length=8), first(8)] | None = None
    """Mean tokens of a prompt, by candidate."""
    detectable_difference: Number | None = None
    """Smallest difference between two candidates that so many questions can show."""
    tokens_saved_per_request: Int | None = None
    """Estimate: tokens of the shortest prompt with examples, less those of the tuned model's."""
    break_even_requests: Int | None = None
    """Estimate: requests after which the tokens saved are worth those that are trained on, where a trained
    token costs as much as three in a prompt. Absent where nothing is saved."""


class OverrideStatus(StatusModel):
    """A person's decision to serve a result that did not pass."""

    by: Short | None = None
    """Field manager that set the annotation, as the API server has it."""
    reason: Message | None = None
    """What the annotation says."""
    time: Short | None = None
    """When it was set."""


class EvaluationStatus(StatusModel):
    """What the evaluation found."""

    model_config = ATOMIC

    base_answered: bool | None = None
    """Whether the base of a full fine-tune was asked everything; absent once the result was, too."""
    artifact: Short | None = None
    """Digest of what was evaluated, as the server proved to have it."""
    metric: Short | None = None
    """The one that decides."""
    rows: Int | None = None
    """Questions."""
    candidates: Annotated[tuple[CandidateStatus, ...], Field(max_length=8)] | None = None
    """The tuned model, then what it is compared with."""
    verdict: Verdict | None = None
    """Whether the gate was passed; Measured without one."""
    message: Message | None = None
    """The verdict in a sentence, with its numbers."""
    report_uri: Uri | None = None
    """Where report.html, report.json and rows.jsonl are: pvc://claim/path."""
    tokens_saved_per_request: Int | None = None
    """Tokens of the prompt that the tuned model does without, against the best baseline with examples."""
    warnings: Annotated[tuple[Message, ...], Field(max_length=5)] | None = None
    """What makes the numbers less sure."""
    override: OverrideStatus | None = None
    """A person's decision to serve it although it did not pass."""
