"""What pods said when they ended. Pure; read once, since each look at a job asks for all of it again."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from kubetune_trainer.contract.evaluation import EvaluateSummary
from kubetune_trainer.contract.messages import (
    PrepareSummary,
    TerminationMessage,
    TrainSummary,
)

from ..vocabulary.strangers import all_plain

_Summary = TypeVar("_Summary", bound=BaseModel)

_KEPT: Final = 512
"""Messages of the pods of as many jobs as are at work at once; each is at most 4 KiB."""


@lru_cache(maxsize=_KEPT)
def message(termination: str) -> TerminationMessage | None:
    """A container's termination message, all of it as plain lines; None when it is not the trainer's."""
    try:  # escapes of JSON bring back what was cleaned of the text, halves of characters too
        return TerminationMessage.model_validate(all_plain(json.loads(termination)))
    except (ValueError, RecursionError):
        return None


@lru_cache(maxsize=_KEPT)
def prepare_summary(termination: str) -> PrepareSummary | None:
    """What prepare found; None when the message holds nothing of the kind."""
    return _summary(termination, PrepareSummary)


@lru_cache(maxsize=_KEPT)
def train_summary(termination: str) -> TrainSummary | None:
    """What training made; None when the message holds nothing of the kind."""
    return _summary(termination, TrainSummary)


@lru_cache(maxsize=_KEPT)
def evaluate_summary(termination: str) -> EvaluateSummary | None:
    """What an evaluation found; None when the message holds nothing of the kind."""
    return _summary(termination, EvaluateSummary)


def _summary(termination: str, kind: type[_Summary]) -> _Summary | None:
    told = message(termination)
    try:
        return kind.model_validate(told.summary) if told and told.summary else None
    except ValidationError:
        return None
