"""One of six words for how a FineTuneJob stands, and the error of a failed one. Pure, and total.

A gate that is not passed is a failure: programs take `succeeded` for a model that they may ask, and read
`fine_tuned_model` without looking whether there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kubetune.vocabulary.json_values import condition_in, dict_of, dicts_of, text_of
from kubetune.vocabulary.names import PREPARE, TRAIN
from kubetune.vocabulary.reasons import ConditionType, Reason

from ..wire.jobs import JobError, Status

CODES: Final[Mapping[str, str]] = {
    Reason.DATA_INVALID: "invalid_training_file",
    Reason.MODEL_UNAVAILABLE: "base_model_unavailable",
    Reason.ADAPTER_INVALID: "adapter_corrupt",
}
"""Codes that programs know, where a reason's own name is not one; others are the reason in snake case."""

TOO_FEW: Final = "invalid_n_examples"
_FEW: Final = re.compile(r"\bat least 10\b")
_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def status_of(raw: Mapping[str, Any]) -> Status:
    """How the job stands, by its FineTuneJob."""
    status = dict_of(raw.get("status"))
    if condition_in(status, ConditionType.STALLED).get("status") == "True":
        return "failed"
    if condition_in(status, ConditionType.READY).get("status") == "True":
        return "succeeded"
    if text_of(status.get("stage")) in ("", PREPARE):
        return "validating_files"
    return "running" if _has_begun(status) else "queued"


def error_of(raw: Mapping[str, Any]) -> JobError | None:
    """Why it has failed; None unless it has."""
    found = condition_in(dict_of(raw.get("status")), ConditionType.STALLED)
    if found.get("status") != "True":
        return None
    reason, message = text_of(found.get("reason")), text_of(found.get("message"))
    if reason == Reason.DATA_INVALID:
        code = TOO_FEW if _FEW.search(message) else CODES[reason]
        return JobError(code=code, message=message, param="training_file")
    return JobError(code=CODES.get(reason) or _HUMPS.sub("_", reason).lower(), message=message)


def finished_at(raw: Mapping[str, Any]) -> str | None:
    """When it came to its end, as Kubernetes has it."""
    status = dict_of(raw.get("status"))
    for type_ in (ConditionType.STALLED, ConditionType.READY):
        found = condition_in(status, type_)
        if found.get("status") == "True":
            return text_of(found.get("lastTransitionTime")) or None
    return None


def _has_begun(status: Mapping[str, Any]) -> bool:
    """Whether all pods of an attempt were ready at one time; a job that adopts has no attempts."""
    attempts = dicts_of(status.get("attempts"))
    trains = text_of(status.get("stage")) == TRAIN
    return not trains or any(a.get("podsReady") or a.get("toStep") for a in attempts)
