"""Errors of the operator.

KubeTuneError
├── SpecError        the user must change the spec: Stalled, no retry
├── KubeError        the API server refused a request
│   ├── NotFound     404
│   ├── Conflict     409 on create or a failed precondition
│   └── Rejected     400, 403, 422: the same request would fail again
└── TransientError   try again later: 429, 5xx, timeouts, connections

A failed child is a result (``observe``), not an exception.
"""


class KubeTuneError(Exception):
    """Base of all errors of the operator."""


class SpecError(KubeTuneError):
    """A field of the spec is wrong in a way that the schema could not say."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


class KubeError(KubeTuneError):
    """The API server refused a request for one object."""

    def __init__(self, message: str, *, verb: str, kind: str, namespace: str, name: str, status: int) -> None:
        super().__init__(f"{verb} {kind} {namespace}/{name}: {status} {message}")
        self.verb = verb
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.status = status
        self.message = message


class NotFound(KubeError):  # noqa: N818 - the HTTP status's own name
    """The object, or its namespace, does not exist."""


class Conflict(KubeError):  # noqa: N818
    """The name is taken, or the object has changed."""


class Rejected(KubeError):  # noqa: N818
    """The request is invalid or forbidden: the message says why, and repeating it does not help."""


class TransientError(KubeTuneError):
    """The request may succeed later. ``retry_after`` is the server's own wish, in seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
