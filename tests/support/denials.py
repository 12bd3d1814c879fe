"""Recorded answers of an API server to what it does not let in; ``tests/faults/test_denials.py`` compares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Denial:
    """Code and Status of an answer."""

    name: str
    status: int
    words: str
    """What people have to be told of it."""
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def body(self) -> bytes:
        """The answer's body."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status}
        return json.dumps({**status, "message": self.words, **dict(self.more)}).encode()

    @override
    def __str__(self) -> str:
        return self.name


def _by_policy(reason: str, code: int) -> Denial:
    said = "ValidatingAdmissionPolicy 'no-jobs' with binding 'no-jobs' denied request: not on Fridays"
    details = {"name": "job-train-1", "group": "batch", "kind": "jobs", "causes": [{"message": said}]}
    return Denial(
        f"policy {reason}",
        code,
        f'jobs.batch "job-train-1" is forbidden: {said}',
        (("reason", reason), ("details", details)),
    )


BY_POLICY = [
    _by_policy("Invalid", 422),
    _by_policy("Forbidden", 403),
    _by_policy("RequestEntityTooLarge", 413),
]

_WEBHOOK = 'admission webhook "deny.example.com" denied the request'
_FIELD = {"causes": [{"reason": "FieldValueInvalid", "message": "m", "field": "spec.x"}]}

BY_WEBHOOK = [
    Denial("webhook without explanation", 400, f"{_WEBHOOK} without explanation"),
    *(
        Denial(f"webhook {code}", code, f"{_WEBHOOK}: not today")
        for code in (400, 401, 403, 404, 409, 422, 429, 500, 503)
    ),
    Denial("webhook 422 with fields", 422, f"{_WEBHOOK}: bad", (("reason", "Invalid"), ("details", _FIELD))),
    Denial("somebody 422", 422, "no", (("reason", "Invalid"),)),
    Denial("somebody 400", 400, "no"),
]

_LIMITS = "spec.template.spec.containers[0].resources.limits"
_LIMIT = "Required value: Limit must be set for non overcommitable resources"

BY_THE_RULES = [
    Denial(
        "field",
        422,
        f'Job.batch "job-train-1" is invalid: {_LIMITS}: {_LIMIT}',
        (
            ("reason", "Invalid"),
            ("details", {"causes": [{"reason": "FieldValueRequired", "message": _LIMIT, "field": _LIMITS}]}),
        ),
    ),
    Denial(
        "type",
        400,
        'Job in version "v1" cannot be handled as a Job: json: cannot unmarshal string into Go struct field '
        "Container.spec.template.spec.containers.command of type []string",
        (("reason", "BadRequest"),),
    ),
    Denial(
        "type of an apply",
        500,
        "failed to create typed patch object (team/job; apps/v1, Kind=Deployment): "
        '.spec.template.spec.containers[name="c"].command: expected list, got &{notalist}',
    ),
    Denial(
        "quantity of an apply",
        500,
        "failed to convert new object (team/job; apps/v1, Kind=Deployment) to proper version: unable to "
        "convert unstructured object to apps/v1, Kind=Deployment: quantities must match the regular "
        "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
]
