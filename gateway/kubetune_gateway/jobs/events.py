"""What happened to a job, from its FineTuneJob and its steps: the same history gives the same events. Pure.

Messages are those that programs look for: "Step i/N: training loss=...", "New fine-tuned model created: ...".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kubetune.vocabulary.json_values import condition_in, dict_of, dicts_of, text_of
from kubetune.vocabulary.reasons import ConditionType
from kubetune.vocabulary.times import parse_time

from ..ids import event_id, job_id
from ..wire.events import Event
from .record import name_of, record
from .status import error_of, finished_at, status_of

_Level = Literal["info", "warn", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One optimizer step that was measured."""

    step: int
    total_steps: int
    at: int
    """Unix seconds."""
    metrics: Mapping[str, float]
    """train_loss, train_mean_token_accuracy, valid_loss, valid_mean_token_accuracy, full_valid_loss,
    full_valid_mean_token_accuracy: those that there are."""

    @property
    def message(self) -> str:
        """As OpenAI words it."""
        told = [f"training loss={self.metrics['train_loss']:.2f}"] if "train_loss" in self.metrics else []
        told += [f"validation loss={self.metrics['valid_loss']:.2f}"] if "valid_loss" in self.metrics else []
        if "full_valid_loss" in self.metrics:
            told.append(f"full validation loss={self.metrics['full_valid_loss']:.2f}")
        return f"Step {self.step}/{self.total_steps}: {', '.join(told)}"


def events(raw: Mapping[str, Any], steps: Sequence[Step] = ()) -> list[Event]:
    """All events of a job, the newest first."""
    told = sorted(_events(raw, steps), key=lambda event: event.created_at)  # stable: causes before effects
    return told[::-1]


def _events(raw: Mapping[str, Any], steps: Sequence[Step]) -> Iterator[Event]:
    meta, status = dict_of(raw.get("metadata")), dict_of(raw.get("status"))
    uid, created = text_of(meta.get("uid")), _seconds(meta.get("creationTimestamp"))

    def event(what: str, at: int, message: str, level: _Level = "info") -> Event:
        return Event(id=event_id(uid, what), created_at=at, level=level, message=message)

    training_file = record(raw).training_file
    yield event("created", created, f"Created fine-tuning job: {job_id(uid)}")
    yield event("validating", created, f"Validating training file: {training_file}")
    attempts = dicts_of(status.get("attempts"))
    begun = [at for attempt in attempts[:1] if (at := _seconds(attempt.get("startTime")))]
    prepared = _since(status, ConditionType.PREPARED)
    if prepared is not None:  # a condition that was lost and came back may be younger than what it led to
        yield event("validated", min([prepared, *begun]), "Files validated, moving job to queued state")
    for attempt in attempts:
        number = attempt.get("number")
        if attempt.get("podsReady"):
            said = "Fine-tuning job started" if number == 1 else f"Fine-tuning job resumed, attempt {number}"
            yield event(f"attempt {number}", _seconds(attempt.get("startTime")), said)
        if attempt.get("outcome") in ("Failed", "Preempted"):
            at = _seconds(attempt.get("completionTime")) or _seconds(attempt.get("startTime"))
            why = f"Attempt {number} ended: {text_of(attempt.get('message'))}"
            yield event(f"attempt {number} ended", at, why, "warn")
    for step in steps:
        numbers = {"step": step.step, "total_steps": step.total_steps, **step.metrics}
        yield Event(
            id=event_id(uid, f"step {step.step}"),
            created_at=step.at,
            message=step.message,
            type="metrics",
            data=numbers,
        )
    yield from _verdict(raw, event)


def _verdict(raw: Mapping[str, Any], event: Any) -> Iterator[Event]:
    """The evaluation's, and how the job ended."""
    status = dict_of(raw.get("status"))
    evaluation = dict_of(status.get("evaluation"))
    judged, ended = _since(status, ConditionType.EVALUATED), _seconds(finished_at(raw))
    if judged is not None and evaluation.get("message"):
        passed = evaluation.get("verdict") != "Failed"
        yield event("judged", judged, text_of(evaluation["message"]), "info" if passed else "warn")
    found, error = status_of(raw), error_of(raw)
    if found == "succeeded":
        yield event("model", ended, f"New fine-tuned model created: {name_of(raw)}")
        yield event("ended", ended, "The job has successfully completed")
    elif error is not None:
        yield event("ended", ended, error.message, "error")


def _since(status: Mapping[str, Any], type_: str) -> int | None:
    """Since when a condition has been True."""
    found = condition_in(status, type_)
    return _seconds(found.get("lastTransitionTime")) if found.get("status") == "True" else None


def _seconds(text: object) -> int:
    found = parse_time(text)
    return 0 if found is None else int(found.timestamp())
