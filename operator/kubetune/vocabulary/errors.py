"""Errors of the operator.

KubeTuneError
├── SpecError                the user must change the spec: Stalled, no retry
├── KubeError                the API server refused a request
│   ├── NotFound             404
│   ├── Conflict             409 on create or a failed precondition
│   ├── MissingPermission    403: our own account has no right to it
│   └── Rejected             a quota, a policy or a webhook does not let it pass: as long as they say so
│       └── Invalid          the object is wrong by the API server's own rules: the same never passes
└── TransientError           try again later: 429, 5xx, timeouts, connections
    └── WebhookFailed        an admission webhook was asked, and did not answer

A failed child is a result (``observe``), not an exception.
"""

from .strangers import plain


class KubeTuneError(Exception):
    """Base of all errors of the operator."""


class SpecError(KubeTuneError):
    """A field of the spec is wrong in a way that the schema could not say."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(plain(f"{field}: {problem}; {remedy}"))
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


class MissingPermission(KubeError):  # noqa: N818
    """The operator's own account has no right to do this: an administrator can give it back."""


class Rejected(KubeError):  # noqa: N818
    """The request is not let in: the message says why. It may pass when a quota or a policy has changed."""


class Invalid(Rejected):
    """The API server's own validation finds the object wrong: the same request never passes."""


class TransientError(KubeTuneError):
    """The request may succeed later. ``retry_after`` is the server's own wish, in seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WebhookFailed(TransientError):  # noqa: N818
    """An admission webhook has a say in the request and cannot be asked, or its answer cannot be read."""
