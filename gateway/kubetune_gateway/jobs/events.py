"""What happened to a job, from its FineTuneJob and its steps: the same history gives the same events. Pure.

Messages are those that programs look for: "Step i/N: training loss=...", "New fine-tuned model created: ...".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from kubetune.vocabulary.json_values import condition_in, dict_of, dicts_of, text_of
from kubetune.vocabulary.reasons import ConditionType
from kubetune.vocabulary.times import parse_time

from ..ids import event_id, job_id
from ..wire.events import Event
from .checkpoints import checkpoints
from .record import NOTHING, Beside, name_of, record
from .status import error_of, finished_at, status_of
from .steps import Step, total_steps

_Level = Literal["info", "warn", "error"]


def events(raw: Mapping[str, Any], steps: Sequence[Step] = (), beside: Beside = NOTHING) -> list[Event]:
    """All events of a job, the newest first."""
    # stable: causes before effects
    told = sorted(_events(raw, steps, beside), key=lambda event: event.created_at)
    return told[::-1]


def message(step: Step, total: int) -> str:
    """A step's line, as OpenAI words it."""
    shown = {"train_loss": "training", "valid_loss": "validation", "full_valid_loss": "full validation"}
    told = [f"{word} loss={step.metrics[name]:.2f}" for name, word in shown.items() if name in step.metrics]
    return f"Step {step.step}/{total}: {', '.join(told)}"


def _events(raw: Mapping[str, Any], steps: Sequence[Step], beside: Beside) -> Iterator[Event]:
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
    total = total_steps(raw)
    for step in steps:
        yield Event(
            id=event_id(uid, f"step {step.step}"),
            created_at=int(step.at),
            message=message(step, total),
            type="metrics",
            data={"step": step.step, "total_steps": total, **step.metrics},
        )
    yield from _verdict(raw, beside, event)


def _verdict(raw: Mapping[str, Any], beside: Beside, event: Any) -> Iterator[Event]:
    """The evaluation's, and how the job ended."""
    status = dict_of(raw.get("status"))
    evaluation = dict_of(status.get("evaluation"))
    judged, ended = _since(status, ConditionType.EVALUATED), _seconds(finished_at(raw))
    if judged is not None and evaluation.get("message"):
        passed = evaluation.get("verdict") != "Failed"
        yield event("judged", judged, text_of(evaluation["message"]), "info" if passed else "warn")
    found, error = status_of(raw), error_of(raw)
    if beside.cancelled_at is not None:
        yield event("cancelled", beside.cancelled_at, "Fine-tuning job cancelled")
        ended = beside.cancelled_at
    elif found == "succeeded":
        for kept in checkpoints(raw):
            named = f"Checkpoint created at step {kept.step} with Snapshot ID: {kept.model}"
            yield event(f"checkpoint {kept.step}", ended, named)
        yield event("model", ended, f"New fine-tuned model created: {name_of(raw)}")
        yield event("ended", ended, "The job has successfully completed")
    elif error is not None:
        yield event("ended", ended, error.message, "error")
    else:
        return
    if beside.result_file is not None:
        yield event("results", ended, f"Completed results file: {beside.result_file}")


def _since(status: Mapping[str, Any], type_: str) -> int | None:
    """Since when a condition has been True."""
    found = condition_in(status, type_)
    return _seconds(found.get("lastTransitionTime")) if found.get("status") == "True" else None


def _seconds(text: object) -> int:
    found = parse_time(text)
    return 0 if found is None else int(found.timestamp())
