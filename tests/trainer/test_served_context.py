"""What is learned, over all chat templates that are at hand: it follows the server's own prompt.

The reference is transformers' renderer, given what vLLM gives it: of each learned turn the messages before it
with the generation prompt, and the messages with the turn.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from kubetune_trainer.contract.errors import BadRow
from kubetune_trainer.template.tokens import TokenRow
from tests.support.conversations import (
    CONVERSATIONS,
    TEMPLATES,
    TOKENIZERS,
    examples,
    learner,
    spans_of,
    trained_turns,
)

pytestmark = pytest.mark.trainer


def as_served(messages: list[dict[str, Any]], *, parts: bool, text: bool, turn: bool) -> list[dict[str, Any]]:
    """What vLLM makes of a request's messages for the template; the reasoning of a turn has all its names."""
    served = []
    for message in messages:
        content = message["content"] or ""
        given = {**message, "content": content}
        given.pop("weight", None)
        if parts and message["role"] != "tool":
            given["content"] = [{"type": "text", "text": content}] if content else []
        if "reasoning_content" in message:
            given["reasoning"] = message["reasoning_content"]
        if "tool_calls" in message and not text:
            given["tool_calls"] = [
                {
                    **call,
                    "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])},
                }
                for call in message["tool_calls"]
            ]
        served.append(given)
    if turn and "reasoning_content" in served[-1]:
        served[-1]["thinking"] = served[-1]["reasoning_content"]
    return served


class Reference:
    """Renders in the library's own environment."""

    def __init__(
        self, tokenizer: Any, tools: list[dict[str, Any]] | None, *, parts: bool, text: bool
    ) -> None:
        self._tokenizer, self._tools, self._form = tokenizer, tools, {"parts": parts, "text": text}
        self._compiled = _compile_jinja_template(tokenizer.chat_template)

    def text(self, messages: list[dict[str, Any]], *, prompt: bool = False) -> str | None:
        """The rendering, or None where the template or the server refuses it."""
        if not messages:
            return None
        try:
            return self._compiled.render(
                messages=as_served(messages, **self._form, turn=not prompt),
                tools=self._tools,
                documents=None,
                add_generation_prompt=prompt,
                **self._tokenizer.special_tokens_map,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError):
            return None

    def ids(self, text: str) -> list[int]:
        """Tokens of a rendering, as the server encodes it."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def require_same(
    row: TokenRow, messages: list[dict[str, Any]], reference: Reference, tokenizer: Any, specials: list[str]
) -> set[int]:
    """Compare an example with the reference; returns the turns that it learns."""
    learned = set()
    for start, end in spans_of(row):
        context = row.input_ids[:start].tolist()
        index = next(
            index
            for index, message in enumerate(messages)
            if message["role"] == "assistant"
            and (text := reference.text(messages[:index], prompt=True)) is not None
            and reference.ids(text) == context
        )
        prompt, whole = reference.text(messages[:index], prompt=True), reference.text(messages[: index + 1])
        said = tokenizer.decode(row.input_ids[start:end])
        assert prompt is not None
        assert whole is not None
        if whole.startswith(prompt):
            rest = whole.removeprefix(prompt)
            assert rest.startswith(said)
            left = re.sub("|".join(map(re.escape, specials)), "", rest.removeprefix(said))
            assert not left.strip()
        else:  # the prompt opens a thought, or leaves it empty, which the template writes otherwise in a turn
            opened = prompt.rstrip().endswith("<think>")
            assert opened or prompt.rstrip().endswith("</think>")
            assert ("</think>" in said) == opened
            assert messages[index].get("reasoning_content", "") in said
            assert said.rpartition("</think>")[2].lstrip() in whole
        learned.add(index)
    return learned


def require_reason(bad: BadRow, messages: list[dict[str, Any]], reference: Reference) -> None:
    """A row is refused only for what the reference shows too."""
    whole = reference.text(messages)
    match bad.kind:
        case "template_refuses":
            assert whole is None
        case "reasoning_dropped":
            turns = [index for index, message in enumerate(messages) if "reasoning_content" in message]
            rendered = [
                (reference.text(messages[:index], prompt=True), reference.text(messages[: index + 1]), index)
                for index in turns
            ]
            assert any(
                messages[index]["reasoning_content"] not in str(text)
                or str(prompt).rstrip().endswith("</think>")
                for prompt, text, index in rendered
            )
        case "template_drops":
            assert whole is not None
            said = [
                name
                for name in ("Weather of a city", '"look_up"', "look_up", "Oslo", "rain")
                if name in whole
            ]
            assert len(said) < 5 or "<atem" in whole
        case "template_rewrites":
            prompts = [
                (str(reference.text(messages[:index], prompt=True)), index)
                for index in range(1, len(messages))
            ]
            assert not all(
                str(reference.text(messages[: index + 1])).startswith(text) for text, index in prompts
            )
        case kind:
            raise AssertionError(f"{kind}: {bad.message}")


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_learned_turn_follows_the_prompt_of_the_server(name: str, tokenizer: str) -> None:
    own = learner(name, tokenizer)
    for messages, tools in CONVERSATIONS.values():
        tokeniser = own.tokeniser()
        found = examples(tokeniser, messages, tools)
        assert tokeniser.turns is not None
        text = tokeniser.turns.template.arguments_as_text
        reference = Reference(own.tokenizer, tools, parts=own.source.content_parts, text=text)
        if isinstance(found, BadRow):
            require_reason(found, messages, reference)
            continue
        learned: list[int] = []
        for example in found:
            learned += require_same(example, messages, reference, own.tokenizer, own.specials)
        missing = set(trained_turns(messages)).difference(learned)
        assert len(learned) == len(set(learned))
        assert missing <= {0}  # a greeting
        assert len(missing) == tokeniser.turns.notes.unasked
