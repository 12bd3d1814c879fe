"""Finds the model's control tokens within rows: text that is rendered already, or text that quotes them.

A chat template puts control tokens around the messages. Within a message the tokenizer reads them as control
tokens too, so that a rendered prompt would be rendered twice, and a quoted token would end a turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..contract.errors import DataInvalid
from .chat import Conversation, Message
from .findings import Finding, Findings
from .formats import Example, Plain
from .json_text import leaves

_WRITTEN_BY_MODELS = frozenset(("<think>", "</think>", "<tool_call>", "</tool_call>"))
"""Tokens that belong to the content of a turn, also where a tokenizer calls them special."""

_OF_TEMPLATES = (
    "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|user|>", "<|assistant|>",
    "<|endoftext|>",
)  # fmt: skip
"""Marks of well-known templates, which are plain text to other models."""


class ControlTokens:
    """What the tokens of one model are, and how many rows have them."""

    def __init__(self, special: Iterable[str], *, bos: str | None, adds_bos: bool, template: str) -> None:
        own = {token for token in special if token.strip()} - _WRITTEN_BY_MODELS
        own |= {mark for mark in _OF_TEMPLATES if mark in template}
        self._own = _pattern(own)
        self._foreign = _pattern(set(_OF_TEMPLATES) - own)
        self._bos = bos if adds_bos else None
        self.as_they_are = 0
        """Rows of plain text with control tokens."""
        self.foreign: dict[str, int] = {}
        """Rows with a mark of another model's template, by the first one."""

    @classmethod
    def of(cls, tokenizer: Any) -> ControlTokens:
        """Those of a tokenizer of transformers."""
        added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        bos = tokenizer.bos_token
        return cls(
            (*added, *tokenizer.all_special_tokens),
            bos=bos,
            adds_bos=bos is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id],
            template=str(tokenizer.chat_template or ""),
        )

    def checked(self, example: Example) -> Example:
        """The example, of which the tokenizer will make one BOS and no control token that is not meant.

        Raises:
            Findings: a message has control tokens.
            DataInvalid: the job's system prompt has.
        """
        if isinstance(example, Plain):
            _require_no_nul((example.prompt, example.completion), "The text")
            return self._plain(example)
        for index, message in enumerate(example.messages):
            _require_no_nul(leaves(message), f"Message {example.number(index)}")
            for text in _texts(message):
                self._require_none(text, example, index)
        if example.tools and (match := self._search(_json(example.tools))):
            raise Findings([Finding("control_token", f"The row's tools have {match[0]}: {_REMEDY}")])
        self._count_foreign(text for message in example.messages for text in _texts(message))
        return example

    def warnings(self) -> list[str]:
        """What was found in rows that are trained on all the same."""
        found = []
        if self.as_they_are:
            found.append(
                f"{self.as_they_are:,} rows of text have control tokens of the model: they are taken as they "
                "are, as text that was rendered already."
            )
        for mark, count in sorted(self.foreign.items()):
            what = "a mark of another model's chat template: it is plain text to this model"
            found.append(f"{count:,} rows have {mark}, {what}.")
        return found

    def _search(self, text: str) -> re.Match[str] | None:
        return self._own.search(text) if self._own else None

    def _require_none(self, text: str, conversation: Conversation, index: int) -> None:
        if not (match := self._search(text)):
            return
        if index < conversation.added:
            raise DataInvalid(f"dataset.systemPrompt has {match[0]}: {_REMEDY}")
        message = f"Message {conversation.number(index)} has {match[0]}: {_REMEDY}"
        raise Findings([Finding("control_token", message)])

    def _plain(self, example: Plain) -> Plain:
        if self._bos:
            key = "prompt" if example.prompt else "completion"
            text: str = getattr(example, key)
            if text.startswith(self._bos):
                example = replace(example, **{key: text.removeprefix(self._bos)})
                self.as_they_are += 1
                return example
        self.as_they_are += bool(self._search(example.prompt + example.completion))
        self._count_foreign((example.prompt, example.completion))
        return example

    def _count_foreign(self, texts: Iterable[str]) -> None:
        match = next(filter(None, map(self._foreign.search, texts)), None) if self._foreign else None
        if match:
            self.foreign[match[0]] = self.foreign.get(match[0], 0) + 1


_REMEDY = (
    "it is a control token of the model. Give the text without the chat template, which is put around it; "
    "rows that are rendered already have the format Text."
)


def _pattern(tokens: set[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if tokens else None


def _require_no_nul(strings: Iterable[Any], where: str) -> None:
    """JSON within strings and columns of Parquet may have it too, which no text of people has."""
    if any(isinstance(text, str) and "\0" in text for text in strings):
        raise Findings([Finding("nul_byte", rf"{where} has a NUL character (\u0000). Remove it.")])


def _texts(message: Message) -> Iterator[str]:
    for key in ("content", "reasoning_content", "name"):
        if text := message.get(key):
            yield text
    if calls := message.get("tool_calls"):
        yield _json([call["function"] for call in calls])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
