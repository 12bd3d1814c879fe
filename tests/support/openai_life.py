"""The life of FineTuneJobs in memory, as an operator would write it: prepared, trained, served or failed.

Nothing is trained: for tests of clients, which see statuses, events and ids.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kubetune.vocabulary.names import DONE, PREPARE, TRAIN
from kubetune.vocabulary.reasons import ConditionType, Reason
from kubetune.vocabulary.times import rfc3339
from kubetune_gateway.jobs import remembered
from tests.support.openai_gateway import MemoryJobs

FAILING: Final = "failing"
"""Suffix of jobs whose rows are found to be bad."""
WAITING: Final = "waiting"
"""Suffix of jobs that stay in training, until somebody cancels them."""
STEPS: Final = 4
EPOCH_ENDS: Final = (2, 4)

_PACE: Final = 0.05
"""Seconds between one status and the next."""


@contextmanager
def lived(
    jobs: MemoryJobs, *, server: str, is_recorded: Callable[[Mapping[str, Any]], bool]
) -> Iterator[None]:
    """Lead all jobs from status to status while the block runs.

    ``server`` is where results are served. Training ends once its steps are recorded, as it does with a
    trainer, which waits for that.
    """
    over = threading.Event()

    def live() -> None:
        while not over.wait(_PACE):
            objects = jobs.objects
            for place, raw in enumerate(objects):
                if "attempts" in raw.get("status", {}) and not is_recorded(raw):
                    continue
                status = next_status(raw, server=server, now=datetime.now(UTC))
                if status != raw.get("status") and objects[place] is raw:  # else the gateway has changed it
                    objects[place] = raw | {"status": status}

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def next_status(raw: Mapping[str, Any], *, server: str, now: datetime) -> dict[str, Any]:
    """What an operator writes next; the status as it is where nothing changes any more."""
    status = dict(raw.get("status") or {})
    suffix = raw["metadata"].get("annotations", {}).get(remembered.SUFFIX)
    if not status:
        return {
            "stage": PREPARE,
            "conditions": [_condition(ConditionType.RECONCILING, Reason.PREPARING, now)],
        }
    if status["stage"] == PREPARE:
        if suffix == FAILING:
            why = "train.jsonl, row 3: message 2 has no role."
            return {
                "stage": PREPARE,
                "conditions": [_condition(ConditionType.STALLED, Reason.DATA_INVALID, now, why)],
            }
        prepared = [_condition(ConditionType.PREPARED, Reason.COMPLETED, now)]
        return {"stage": TRAIN, "conditions": prepared, "plan": {"totalSteps": STEPS}}
    if status["stage"] == TRAIN and "attempts" not in status:
        first = {"number": 1, "podsReady": True, "startTime": rfc3339(now), "fromStep": 0}
        soon = rfc3339(now + timedelta(minutes=1))
        progress = {"step": 1, "totalSteps": STEPS, "loss": "2.5", "estimatedCompletionTime": soon}
        return status | {"attempts": [first], "progress": progress}
    if status["stage"] == TRAIN and suffix != WAITING:
        return status | _served(raw, status, server=server, now=now)
    return status


def _served(
    raw: Mapping[str, Any], status: Mapping[str, Any], *, server: str, now: datetime
) -> dict[str, Any]:
    name = raw["metadata"]["name"]
    reached = [
        _condition(type_, Reason.COMPLETED, now)
        for type_ in (ConditionType.TRAINED, ConditionType.SERVED, ConditionType.READY)
    ]
    ended = {"completionTime": rfc3339(now), "toStep": STEPS, "outcome": "Succeeded"}
    kept = [{"step": step, "modelName": f"{name}:ckpt-step-{step}"} for step in EPOCH_ENDS[:-1]]
    return {
        "stage": DONE,
        "conditions": [*status["conditions"], *reached],
        "attempts": [status["attempts"][0] | ended],
        "progress": {"step": STEPS, "totalSteps": STEPS, "loss": "0.4", "trainedTokens": 48000},
        "artifact": {"uri": f"pvc://{name}-output/{name}/adapter", "type": "LoRA", "checkpoints": kept},
        "serving": {"modelName": name, "url": server, "replicas": 1, "readyReplicas": 1},
    }


def _condition(type_: str, reason: Reason, now: datetime, message: str = "") -> dict[str, Any]:
    return {
        "type": type_,
        "status": "True",
        "lastTransitionTime": rfc3339(now),
        "reason": reason,
        "message": message,
    }
