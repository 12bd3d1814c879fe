"""Asks the server behind the guard what training wrote down, once, before the pod is ready."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from .asgi import App, Message, Scope
from .verdict import Question, Record, Verdict, decide

RECORD: Final = "canary.json"
WEIGHTS: Final = "adapter_model.safetensors"
MANIFEST: Final = "MANIFEST.json"
_VERSION: Final = 1
_MOST: Final = 64
"""Questions: more keep a server from starting."""
_AT_ONCE: Final = 4
_NOT_A_NUMBER: Final = "not JSON compliant"
"""What vLLM says with status 400 when a probability is NaN."""


class SilentError(Exception):
    """The server gave no answer that can be used."""


@dataclass(frozen=True)
class Served:
    """What the operator says of the pod."""

    model: str
    base: str | None
    """Name of the base beside an adapter."""
    dtype: str
    artifact: Path
    """Directory of the adapter, or of a full fine-tune's weights."""
    digest: str
    """Of the artifact, as the operator has it in the job's status."""
    is_base: bool = False
    """The model is the base itself, beside which a full fine-tune is judged."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Served:
        """Read the variables that the operator sets."""
        return cls(
            model=env["KUBETUNE_SERVED_MODEL"],
            base=env.get("KUBETUNE_SERVED_BASE") or None,
            dtype=env.get("KUBETUNE_SERVED_DTYPE", "auto"),
            artifact=Path(env["KUBETUNE_ARTIFACT"]),
            digest=env["KUBETUNE_ARTIFACT_DIGEST"],
            is_base=env.get("KUBETUNE_SERVED_IS_BASE") == "true",
        )


async def prove(app: App, scope: Scope, served: Served) -> dict[str, Any]:
    """Ask all questions of the record; return the verdict as JSON.

    ``scope`` is that of any request to the server. Raises SilentError when not even a plain question is
    answered: the server is not ready for a verdict.
    """
    await _ask(app, scope, {"model": served.model, "prompt": "Hello", "max_tokens": 1})
    verdict = await _verdict(app, scope, served)
    weights = await asyncio.to_thread(_sha256, served.artifact / WEIGHTS)
    return {"version": _VERSION, **verdict.manifest(), "digest": served.digest, "weights": weights}


async def _verdict(app: App, scope: Scope, served: Served) -> Verdict:
    try:
        record = read(served.artifact / RECORD)
        record = _of_base(record) if served.is_base else record
    except FileNotFoundError:
        return Verdict("Unproven", f"The artifact has no {RECORD}: {_why(served.artifact)}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Verdict(
            "Unproven", f"The artifact's {RECORD} cannot be read: {type(error).__name__}: {error}."
        )
    try:
        tuned = await _probabilities(app, scope, served.model, record.questions)
        base = served.base and await _probabilities(app, scope, served.base, record.questions)
    except SilentError as error:
        return Verdict("Unproven", f"The server does not answer the questions of {RECORD}: {error}.")
    return decide(record, dtype=served.dtype, tuned=tuned, base=base or None)


def _of_base(record: Record) -> Record:
    """What a server of the base alone must answer: as training measured it before the first step."""
    return replace(record, questions=tuple(replace(q, tuned=q.base, base=q.tuned) for q in record.questions))


def _why(artifact: Path) -> str:
    """Why training left no record."""
    try:
        adopted = "source_digest" in json.loads((artifact / MANIFEST).read_bytes())
    except (OSError, ValueError):
        adopted = False
    if adopted:
        return "it was trained elsewhere and adopted, and nobody measured what it answers"
    return "an earlier version trained it. Train again to have it proven"


def read(path: Path) -> Record:
    """Read what training left. Raises OSError, ValueError, KeyError or TypeError."""
    raw = json.loads(path.read_bytes())
    if raw["version"] != _VERSION:
        raise ValueError(f"version {raw['version']} is not known here")
    questions = tuple(
        Question(tuple(map(int, q["prompt"])), int(q["token"]), float(q["base"]), float(q["tuned"]))
        for q in raw["questions"]
    )
    if not 0 < len(questions) <= _MOST:
        raise ValueError(f"{len(questions)} questions are not between 1 and {_MOST}")
    if not all(math.isfinite(number) for q in questions for number in (q.base, q.tuned)):
        raise ValueError("a log-probability is not finite")
    trained = raw.get("model_dtype")
    return Record(str(raw["architecture"]), questions, rounded=raw.get("stored_dtype", trained) != trained)


async def _probabilities(app: App, scope: Scope, model: str, questions: Sequence[Question]) -> list[float]:
    """Log-probabilities of the questions' tokens; NaN where the server has no number."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(question: Question) -> float:
        body = {
            "model": model,
            "prompt": list(question.prompt),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": 0,
            "allowed_token_ids": [question.token],
        }
        async with places:
            try:
                choice = (await _ask(app, scope, body))["choices"][0]
                return float(choice["logprobs"]["token_logprobs"][0])
            except SilentError as error:
                if _NOT_A_NUMBER in str(error):
                    return math.nan
                raise
            except (KeyError, IndexError, TypeError, ValueError):
                raise SilentError("an answer has no log-probability") from None

    found = await asyncio.gather(*map(one, questions), return_exceptions=True)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return [result for result in found if not isinstance(result, BaseException)]


async def _ask(app: App, scope: Scope, body: Mapping[str, Any]) -> Any:
    """Ask for a completion, past the guard. Raises SilentError with the server's words."""
    text = json.dumps(body).encode()
    path = "/v1/completions"
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
    ]
    own = {"method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    pending: list[Message] = [{"type": "http.request", "body": text, "more_body": False}]
    status, answer = 0, bytearray()

    async def receive() -> Message:
        if not pending:
            await asyncio.Event().wait()  # this client stays
        return pending.pop()

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        answer.extend(message.get("body", b""))

    try:
        await app({**scope, **own, "state": dict(scope.get("state") or {})}, receive, send)
        if status == 200:
            return json.loads(answer)
    except Exception as error:
        raise SilentError(f"{type(error).__name__}: {error}") from error
    raise SilentError(f"HTTP {status}: {bytes(answer[:500]).decode(errors='replace')}")


def _sha256(path: Path) -> str | None:
    """Digest of a file as ``sha256:...``; None where there is none, as beside a full fine-tune."""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError:
        return None
