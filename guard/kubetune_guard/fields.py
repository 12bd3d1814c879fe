"""What a body may say: fields that end vLLM or reach past the API are refused, sequences are counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from .asgi import RefusedError

_FORCED: Final = (
    "Ask for one answer token at a time instead: max_tokens 1, logprobs 0, allowed_token_ids with that token."
)
REFUSED: Final[Mapping[str, str]] = {
    "prompt_logprobs": f"two requests with it at once end a server on CPU. {_FORCED}",
    "prompt_embeds": "it has the server load tensors of a client. Send prompt as text or token ids.",
    "kv_transfer_params": "it has the server connect to others. Leave it out.",
    "ec_transfer_params": "it has the server connect to others. Leave it out.",
    "chat_template": "a template is a program. Put what it adds into messages.",
}
"""Fields of vLLM's own, with why and what to do instead; null is as good as absent."""


def parse(body: bytes) -> dict[str, Any]:
    """Read a body as vLLM would, but for NaN and infinities, which are no JSON.

    Raises RefusedError (400) with what is wrong.
    """
    try:
        parsed = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise RefusedError(400, "The body is nested too deeply; send a flatter one.") from None
    except ValueError as error:  # also of bytes that are no text
        raise RefusedError(400, f"The body is no JSON: {error}.") from None
    if not isinstance(parsed, dict):
        raise RefusedError(400, 'The body has to be a JSON object, as {"model": ...}.')
    return parsed


def check(body: Mapping[str, Any]) -> None:
    """Raise RefusedError (400) for a field that this server does not take."""
    for field, why in REFUSED.items():
        if body.get(field) is not None:
            _refuse(field, f"{field} is not taken here: {why}")
    # False, 0 and "" are as good as absent to echo, and 0 is a number of log-probabilities
    if body.get("echo") and ("messages" in body or body.get("logprobs") is not None):
        text = "echo is not taken here in a chat or with logprobs: it is prompt_logprobs by another name."
        _refuse("echo", f"{text} {_FORCED}")


def sequences(body: Mapping[str, Any]) -> int:
    """Return how many sequences a request makes: answers times prompts.

    Raises RefusedError (400) where the number of answers is no integer.
    """
    answers = 1
    for field in ("n", "best_of"):
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, int):
            _refuse(field, f"{field} has to be an integer.")
        answers = max(answers, value)
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):  # else token ids of one
        answers *= len(prompt)
    return answers


def _refuse(field: str, text: str) -> NoReturn:
    raise RefusedError(400, text, param=field, code="unsupported_parameter")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
