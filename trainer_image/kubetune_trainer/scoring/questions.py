"""questions.jsonl: what every candidate is asked, as prepare wrote it, one question per line.

The prompts are whole: system message, examples and tools stand in them, and nothing is added when they are
asked but the model's name and how answers are decoded. So they were counted, and fit the server's context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Set = Literal["Main", "General"]
"""General: rows of ``gate.mustNotRegress``, which only the tuned model and the base are asked."""

PLAIN = "Plain"
"""Name of the prompt without examples, which the tuned model and the base share; those of the other
candidates have the candidate's name."""


class Prompt(BaseModel):
    """What one candidate is asked: a conversation, or text where the model has no chat template."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    messages: tuple[dict[str, Any], ...] | None = None
    """In OpenAI's format, for /v1/chat/completions."""
    text: str | None = None
    """For /v1/completions."""
    tokens: int
    """As the model's template and tokenizer make them."""


class Question(BaseModel):
    """One assistant's turn of one row."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Unique: ``<line>`` of the file, with ``.<turn>`` where several turns of a row are asked for, and in
    front ``general-`` for those of the set General."""
    set: Set = "Main"
    file: str
    line: int
    """From 1; of Parquet and of a JSON array the row's number."""
    turn: int
    """Place of the assistant's message in the row's conversation, from 0."""
    expected: str
    """What the assistant says there; empty where it only calls tools."""
    expected_calls: tuple[dict[str, Any], ...] = ()
    """Its calls in OpenAI's format; arguments are objects."""
    tools: tuple[dict[str, Any], ...] = ()
    """What may be called, in OpenAI's format."""
    leak: Literal["Exact", "Normalised"] | None = None
    """How the row stands in the training rows as well."""
    prompts: dict[str, Prompt] = Field(min_length=1)
    """By name: PLAIN, and the candidates with examples. ``General`` questions have PLAIN alone."""


def write_questions(questions: Iterable[Question], path: Path) -> int:
    """Write them, and return how many there are."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, question in enumerate(questions, start=1):  # noqa: B007 - the last is the number
            file.write(question.model_dump_json(exclude_defaults=True) + "\n")
    return count


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions in order.

    Raises:
        OSError: the file is not there, or cannot be read.
        pydantic.ValidationError: it is not what prepare wrote.
    """
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Question.model_validate_json(line)
