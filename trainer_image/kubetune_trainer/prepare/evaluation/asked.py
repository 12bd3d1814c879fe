"""Which turns of a row are asked for, and what is known of each before there is a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...data.chat import Conversation, Message
from ...data.findings import Finding, Findings
from ...data.formats import Example, Plain
from ...data.likeness import likeness
from ...template.turns import TurnFinder
from ..compared import Line
from .exchange import key_of

Turns = Literal["Last", "All"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Digests by which a training row is known to be the question's own, or to ask the same."""

    whole: int
    """Of the row."""
    prompt: int
    """Of what stands before the answer."""
    ask: int
    """Of what is asked last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An assistant's turn that is asked for."""

    line: Line
    turn: int
    """Place in the row's conversation, from 0."""
    several: bool
    """Whether other turns of the row are asked for too."""
    before: tuple[Message, ...] | str
    """Messages in the form of chat templates, or text."""
    tools: tuple[dict[str, Any], ...]
    expected: str
    calls: tuple[dict[str, Any], ...]
    keys: Keys

    @property
    def ask(self) -> str:
        """What is asked last: the last message of a user, or the text."""
        return self.before if isinstance(self.before, str) else _last_said(self.before)


def asked_of(line: Line, example: Example, turns: Turns, finder: TurnFinder | None) -> list[Asked]:
    """The turns of a row that are asked for.

    Raises:
        Findings: the template refuses or drops something of it, or nobody asks anything in it.
        DataInvalid: the template takes no system prompt of the job.
    """
    if isinstance(example, Plain):
        return [_of_text(line, example)]
    assert finder is not None  # RowReader refuses conversations without a template
    finder.whole(example)
    trained = [index for index, learned in enumerate(example.trained) if learned]
    chosen = trained[-1:] if turns == "Last" else trained
    chosen = [index for index in chosen if _is_asked(example.messages[:index])]
    if not chosen:
        raise Findings([Finding("nothing_to_ask", _NOBODY_ASKS)])
    return [_turn(line, example, index, several=turns == "All" and len(trained) > 1) for index in chosen]


_NOBODY_ASKS = "No user says anything before the answer: remove the row, or give it a question."


def _is_asked(before: Sequence[Message]) -> bool:
    return any(message["role"] == "user" for message in before)


def _of_text(line: Line, example: Plain) -> Asked:
    if not example.prompt.strip():
        raise Findings([Finding("nothing_to_ask", "The row has no prompt to ask.")])
    found = likeness(example)
    return Asked(
        line=line,
        turn=0,
        several=False,
        before=example.prompt,
        tools=(),
        expected=example.completion,
        calls=(),
        keys=Keys(whole=found.whole, prompt=found.prompt, ask=key_of(example.prompt)),
    )


def _turn(line: Line, row: Conversation, index: int, *, several: bool) -> Asked:
    before, answer = row.messages[:index], row.messages[index]
    until = replace(row, messages=row.messages[: index + 1], trained=(*[False] * index, True))
    return Asked(
        line=line,
        turn=index - row.added,
        several=several,
        before=before,
        tools=row.tools,
        expected=answer["content"],
        calls=tuple(answer.get("tool_calls", ())),
        keys=Keys(whole=likeness(row).whole, prompt=likeness(until).prompt, ask=key_of(_last_said(before))),
    )


def _last_said(messages: Sequence[Message]) -> str:
    content: str = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    return content
