"""The methods and paths that clients need; everything else that vLLM mounts is closed.

A path must be equal to one of these as vLLM's router sees it, decoded: a double slash, a slash at the end or
a dot segment is another path.
"""

from __future__ import annotations

from typing import Final

from .asgi import RefusedError, Scope

ASK: Final = frozenset({"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"})
"""Their bodies are checked, and they count as requests."""

READ: Final = frozenset({"/v1/models", "/health", "/metrics", "/version"})
"""They are never counted: a server that is busy is still alive."""

CANARY: Final = "/kubetune/canary"
"""Whether this server answers as training measured, as JSON."""

STARTED: Final = "/kubetune/started"
"""200 once it does, or once it is known that nobody can tell: for the startup probe."""

OWN: Final = frozenset({CANARY, STARTED})
"""The guard answers them itself."""

OPEN: Final = frozenset({"/health", "/metrics"}) | OWN
"""They ask for no key: kubelet, operator and Prometheus have none. None of them has the model answer."""


def needs_key(scope: Scope) -> bool:
    """Whether a server that has keys asks for one, be there such a path or not."""
    return scope["path"] not in OPEN and scope["method"] != "OPTIONS"  # browsers ask first, and without


def is_question(scope: Scope) -> bool:
    """Whether the request has a body to check and counts.

    Raises RefusedError (404, 405) for what is closed.
    """
    method, path = scope["method"], scope["path"]
    if path in ASK:
        allowed = "POST"
    elif path in READ | OWN:
        allowed = "GET"
    else:
        raise RefusedError(
            404,
            f"There is no {path} here. This server answers {', '.join(sorted(ASK | READ | OWN))}.",
            code="unknown_url",
        )
    if method not in (allowed, "OPTIONS"):  # browsers ask first
        text = f"{path} is for {allowed}, not for {method}."
        raise RefusedError(405, text, code="method_not_allowed", headers=((b"allow", allowed.encode()),))
    return path in ASK and method == "POST"
