"""Asks a served model the held-out questions, as any OpenAI client would."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

_AT_ONCE = 16  # requests; vLLM batches them
_TOKENS = 8  # no team's name has more than two


@dataclass(frozen=True, slots=True)
class Example:
    """A held-out row: what is asked and what should be answered."""

    prompt: str
    expected: str


def held_out(path: Path) -> list[Example]:
    """Read rows in OpenAI's chat format with one user and one assistant turn."""
    rows = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    return [Example(prompt=row[-2]["content"], expected=row[-1]["content"]) for row in rows]


def models(url: str) -> list[str]:
    """Return the names of the models that the server offers."""
    reply = httpx.get(f"{url}/models", timeout=30)
    reply.raise_for_status()
    return [str(model["id"]) for model in reply.json()["data"]]


def ask(url: str, *, model: str, system_prompt: str, examples: Sequence[Example]) -> list[str]:
    """Return the model's greedy answers, in the order of the examples."""
    with httpx.Client(base_url=url, timeout=120) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda example: _answer(client, model, system_prompt, example), examples))


def normalise(answer: str) -> str:
    """Make answers comparable: white space, case and a final full stop do not count."""
    return answer.strip().strip(".").lower()


def exact_match(answers: Sequence[str], examples: Sequence[Example]) -> float:
    """Share of answers that equal what was expected."""
    hits = sum(
        normalise(answer) == normalise(example.expected)
        for answer, example in zip(answers, examples, strict=True)
    )
    return hits / len(examples)


def _answer(client: httpx.Client, model: str, system_prompt: str, example: Example) -> str:
    messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": example.prompt}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": _TOKENS}
    reply = client.post("/chat/completions", json=body)
    reply.raise_for_status()
    return str(reply.json()["choices"][0]["message"]["content"])
