"""Finds what is trained on in a rendered conversation: the assistant's turns, with the tokens that end them.

Works with any chat template. One with ``{% generation %}`` markers says it itself. Otherwise the
conversation up to a turn is rendered with and without that turn. Where a template rewrites history, so that
one is no prefix of the other, the turn is found by replacing it with a marker. What a template drops is an
error, never a silent mask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from ..data.chat import Conversation, Message
from ..data.findings import Finding, Findings
from .omissions import no_system_role, require_context, require_rest, require_turn

Span = tuple[int, int]

TEMPLATE_DATE = date(2024, 7, 26)
"""What templates get for today (Llama 3's own default): the same data must have the same tokens tomorrow."""

_MARKER = "\ue000\ue001\ue002"  # private-use characters, which neither templates nor people write
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A conversation as text."""

    conversation: Conversation
    text: str
    marked: list[Span]
    """The assistant's turns, where the template marks them itself."""


class ChatTemplate:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
        added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        tokens = "|".join(
            re.escape(token) for token in sorted({*added, *tokenizer.all_special_tokens}, key=len)[::-1]
        )
        self._end_token = re.compile(rf"\s*({tokens})") if tokens else None
        self._trailing = re.compile(rf"({tokens})\s+\Z") if tokens else None
        self._templates: dict[bool, str] = {}

    def render(self, messages: Sequence[Message], tools: Sequence[Any], *, prompt: bool = False) -> str:
        """Text of a conversation; with ``prompt`` it ends where the assistant goes on."""
        return self._render(messages, tools, prompt=prompt)[0]

    def rendered(self, conversation: Conversation) -> Rendered:
        """Render a conversation.

        Raises:
            Findings: the template refuses or drops something.
            DataInvalid: it takes no system prompt of the job.
        """
        try:
            text, marked = self._render(conversation.messages, conversation.tools, spans=True)
        except Findings:
            if conversation.added:  # if the template takes the row without it, it is not the row's fault
                self.rendered(conversation.without_added())
                raise no_system_role() from None
            raise
        require_context(conversation, text)
        require_rest(conversation, lambda messages, tools: self._render(messages, tools, spans=True))
        return Rendered(conversation=conversation, text=text, marked=marked)

    def assistant_spans(self, rendered: Rendered, *, until: int | None = None) -> list[Span]:
        """Find what is trained on, in order; raises Findings.

        ``until`` is the character after which nothing is kept: turns after the first that ends behind it are
        not looked for, since each costs as much as rendering the whole conversation.
        """
        conversation, text, marked = rendered.conversation, rendered.text, rendered.marked
        turns = [i for i, message in enumerate(conversation.messages) if message["role"] == "assistant"]
        spans: list[Span] = []
        for order, index in enumerate(turns):
            if not conversation.trained[index]:
                continue
            if until is not None and spans and spans[-1][1] > until:
                break
            if len(marked) == len(turns):
                span = self._with_end_token(text, marked[order])
            else:
                span = self._span(conversation, index, text)
            spans.append(span)
            if until is None or span[0] < until:
                require_turn(conversation.messages[index], conversation.number(index), text[slice(*span)])
        return spans

    def _span(self, conversation: Conversation, index: int, text: str) -> Span:
        """Where message ``index`` stands in the text."""
        messages, tools = conversation.messages, conversation.tools
        before = self.render(messages[:index], tools, prompt=True) if index else ""
        last = index + 1 == len(messages)
        until = text if last else self.render(messages[: index + 1], tools)
        if index and text.startswith(before) and text.startswith(until) and len(before) < len(until):
            return len(before), len(self._trailing.sub(r"\1", until)) if self._trailing else len(until)
        start, end = self._replaced(conversation, index, text)
        start_as_last, end_as_last = self._replaced(conversation, index, until, last=True)
        if end - start > end_as_last - start_as_last:  # more than this turn differs
            raise _rewrites(conversation.number(index))
        here, there = self._end_match(text, end), self._end_match(until, end_as_last)
        # Turns of this template end with a token, and the one found here does not open the next turn.
        if (
            here
            and there
            and (here[1] == there[1] or here[1] != self._opening(messages[:index], tools, before))
        ):
            end = here.end()
        return start, end

    def _opening(self, messages: Sequence[Message], tools: Sequence[Any], prompted: str) -> str | None:
        """Token that opens the assistant's turn after some messages."""
        opening = prompted.removeprefix(self.render(messages, tools)) if messages else ""
        match = self._end_match(opening, 0)
        return match[1] if match else None

    def _replaced(self, conversation: Conversation, index: int, text: str, *, last: bool = False) -> Span:
        """Where the text differs from one that has a marker for message ``index``, or ends with it."""
        other = [*conversation.messages]
        other[index] = {"role": "assistant", "content": _MARKER}
        replaced = self.render(other[: index + 1] if last else other, conversation.tools)
        start = _common(text, replaced)
        tail = _common(text[start:][::-1], replaced[start:][::-1])
        if replaced[start : len(replaced) - tail].count(_MARKER) != 1:
            raise _rewrites(conversation.number(index))
        return start, len(text) - tail

    def _end_match(self, text: str, at: int) -> re.Match[str] | None:
        return self._end_token.match(text, at) if self._end_token else None

    def _with_end_token(self, text: str, span: Span) -> Span:
        """Markers may end before the end-of-sequence token, but the model must learn to stop."""
        end = self._end_match(text, span[1])
        return (span[0], end.end()) if end and end[1] == self._special.get("eos_token") else span

    def _render(
        self, messages: Sequence[Message], tools: Sequence[Any], *, prompt: bool = False, spans: bool = False
    ) -> tuple[str, list[Span]]:
        template = self._template(bool(tools))
        markers = spans and _GENERATION.search(template) is not None
        try:
            texts, marked = render_jinja_template(
                conversations=[_without_empty(messages)],
                tools=list(tools) or None,
                chat_template=template,
                add_generation_prompt=prompt,
                return_assistant_tokens_mask=markers,
                **self._special,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            sentence = (
                str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            )
            message = f"The model's chat template refuses the row: {sentence}"
            if tools or any("tool_calls" in message for message in messages):
                message += " (it may not know tools)"
            raise Findings([Finding("template_refuses", message)]) from None
        return texts[0], marked[0] if markers else []

    def _template(self, tools: bool) -> str:
        if tools not in self._templates:
            template: str = self._tokenizer.get_chat_template(tools=[] if tools else None)
            self._templates[tools] = _TODAY.sub(_template_date, template)
        return self._templates[tools]


def _template_date(call: re.Match[str]) -> str:
    return repr(TEMPLATE_DATE.strftime(call[2]))


def _common(one: str, other: str) -> int:
    """Length of the common prefix."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # slices are compared in C: a loop over characters took most of prepare's time
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _rewrites(number: int) -> Findings:
    message = (
        f"The model's chat template rewrites message {number} so that its turn cannot be told from others."
    )
    return Findings([Finding("template_rewrites", message)])


def _without_empty(messages: Sequence[Message]) -> list[Message]:
    """A call without text has no content key: templates would write "None" or an empty turn."""
    return [
        {
            key: value
            for key, value in message.items()
            if key != "content" or value or "tool_calls" not in message
        }
        for message in messages
    ]
