"""What a candidate is asked about a question, and the key of its answer. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..contract.evaluation import GenerationConfig
from ..scoring.questions import Prompt, Question
from .candidates import Candidate

SEED = 0
"""Of every request: where answers are drawn, the same are drawn again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to one candidate."""

    key: str
    """Digest of all that the answer depends on."""
    question: Question
    body: dict[str, Any]
    """As OpenAI's API takes it: with ``messages`` for /chat/completions, with ``prompt`` for /completions."""


def request_of(
    question: Question, candidate: Candidate, generation: GenerationConfig, *, repetition: int = 0
) -> Request:
    """Ask a question for the first time (0), or again.

    The same question in two rows is one request.
    """
    body: dict[str, Any] = {
        "model": candidate.model,
        **_asked(question.prompts[candidate.prompt]),
        "max_tokens": generation.max_tokens,
        "temperature": float(generation.temperature),
        "seed": SEED,
    }
    if generation.stop:
        body["stop"] = list(generation.stop)
    if question.tools:
        body["tools"] = list(question.tools)
    key = digest({"of": dict(candidate.identity), "asked": body, "repetition": repetition})
    return Request(key=key, question=question, body=body)


def without_repeats(requests: Iterable[Request]) -> list[Request]:
    """The first request of each key, in order."""
    found: dict[str, Request] = {}
    for request in requests:
        found.setdefault(request.key, request)
    return list(found.values())


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _asked(prompt: Prompt) -> dict[str, Any]:
    if prompt.messages is not None:
        return {"messages": list(prompt.messages)}
    return {"prompt": prompt.text or ""}
