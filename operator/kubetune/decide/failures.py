"""What the conditions say when a look at a job fails: requests that do not pass, and our own faults. Pure.

The text of a cause stays the same from try to try, or each would be a write: ports, addresses, ids and times
are left out of it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ..api.conditions import ConditionStatus
from ..stages.table import STAGES
from ..vocabulary.errors import KubeError, KubeTuneError, MissingPermission, SpecError, WebhookFailed
from ..vocabulary.reasons import ConditionType, Finding, Reason
from ..vocabulary.sentences import sentences, shortened
from .abstract import with_abstract
from .raw_status import Told, conditions_in, with_conditions

_WORDS: Final = 600
"""Characters of what the API server said."""

_ACCOUNT: Final = re.compile(r'User "system:serviceaccount:([^":]+):([^"]+)"')
_PASSING: Final = (
    (re.compile(r"(?:\b\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d+->"), ""),  # the near end of a connection
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "..."),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "..."),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "..."),
    (re.compile(r"\b\d+\.\d+(?:ms|µs|s)\b"), "..."),
    (re.compile(r"\b(request[-_ ]?id\W+)[\w-]+", re.IGNORECASE), r"\1..."),
)
"""What differs each time that the same is said."""


def failure_of(error: BaseException) -> Finding:
    """Say why a look failed, and what to do."""
    words = shortened(_lasting(str(error)), limit=_WORDS)
    if isinstance(error, SpecError):
        return Finding(Reason.INVALID_SPEC, str(error))
    if isinstance(error, MissingPermission):
        return _missing_permission(error)
    if isinstance(error, WebhookFailed):
        what = f"An admission webhook does not answer: {words}"
        fix = "It is asked again until it does: repair the webhook, or remove its configuration"
        return Finding(Reason.WEBHOOK_FAILED, sentences(what, fix))
    if isinstance(error, KubeTuneError):
        what = f"A request to the API server keeps failing: {words}"
        return Finding(Reason.REQUEST_FAILED, sentences(what, "It is repeated until it passes"))
    what = f"A fault of KubeTune keeps this job from going on: {_origin(error)}"
    fix = (
        "What runs goes on, and KubeTune tries again. Report this message in KubeTune's issue tracker, with "
        "the FineTuneJob and the operator's log"
    )
    return Finding(Reason.INTERNAL_ERROR, sentences(what, fix))


def is_lasting(error: BaseException) -> bool:
    """Whether it is there to stay from the first time on: nobody has to wait to be told."""
    return isinstance(error, MissingPermission | SpecError)


def failed_status(
    status: Mapping[str, Any], finding: Finding, *, generation: int, now: datetime
) -> dict[str, Any]:
    """Keep what is known, and say in Reconciling what keeps the job; Ready and the stage at hand point to it.

    What was True stays so, but for Ready: whether it still is cannot be seen. Total.
    """
    known = conditions_in(status)
    told: dict[str, Told | None] = {
        ConditionType.READY: Told(
            _ready(known), finding.reason, "It cannot be seen how far the job is: Reconciling says why."
        ),
        ConditionType.RECONCILING: Told("True", finding.reason, finding.message),
        ConditionType.STALLED: None,
    }
    for condition in (stage.condition for stage in STAGES):
        if condition in known and known[condition].get("status") != "True":
            truth: ConditionStatus = "Unknown" if known[condition].get("status") == "Unknown" else "False"
            told[condition] = Told(truth, finding.reason, f"See {ConditionType.RECONCILING}.")
            break
    return with_abstract(with_conditions(status, told, generation=generation, now=now))


def _ready(known: Mapping[str, Mapping[str, Any]]) -> ConditionStatus:
    return "False" if known.get(ConditionType.READY, {}).get("status") == "False" else "Unknown"


def _missing_permission(error: KubeError) -> Finding:
    words = shortened(_lasting(error.message), limit=_WORDS)
    account = _ACCOUNT.search(words)
    whose = f"its ServiceAccount {account[1]}/{account[2]}" if account else "its account"
    what = f"KubeTune may not {error.verb} {error.kind} {error.name}".rstrip()
    what += f" in namespace {error.namespace}: {whose} lacks the right. The API server says: {words}"
    fix = (
        "Install the chart of this version again, or have an administrator give that right back; within a "
        "minute the job goes on"
    )
    return Finding(Reason.MISSING_PERMISSION, sentences(what, fix))


def _origin(error: BaseException) -> str:
    """Type and first words of an exception, and the line that raised it."""
    words = shortened(_lasting(str(error)))
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "kubetune" in frame.filename]
    if not ours:
        return said
    last = ours[-1]
    return f"{said} (in {last.name}, line {last.lineno} of {last.filename.rpartition('/')[2]})"


def _lasting(text: str) -> str:
    for pattern, instead in _PASSING:
        text = pattern.sub(instead, text)
    return text
