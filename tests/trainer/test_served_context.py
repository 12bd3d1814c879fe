"""What is learned, over all chat templates that are at hand: it follows the server's own prompt.

The reference is transformers' renderer, given what vLLM gives it: of each learned turn the messages before it
with the generation prompt, and the messages with the turn.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from kubetune_trainer.contract.errors import BadRow
from kubetune_trainer.data.chat import check_messages
from kubetune_trainer.data.tools import check_tools
from kubetune_trainer.template.source import chat_source
from kubetune_trainer.template.tokens import IGNORED, Tokeniser, TokenRow
from tests.support.chat_templates import CHATML, MISTRAL, stored_template
from tests.support.tiny_model import merging_tokenizer, tiny_tokenizer

pytestmark = pytest.mark.trainer

_TRL = importlib.util.find_spec("trl")
assert _TRL is not None
assert _TRL.origin is not None
STORED = sorted(path.stem for path in (Path(_TRL.origin).parent / "chat_templates").glob("*.jinja"))

NO_HEADERS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""Nothing in it is a special token, and its prompt ends with a space, which tokens take with them."""
ENDS_LAST = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{{ eos_token if loop.last else '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NUMBERS = (
    "{{ messages | length }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Nothing that it writes before a turn is what it writes before the next."""
KEEPS_LAST_THOUGHT = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content and loop.last %}"
    "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

TEMPLATES = {
    **{name: stored_template(name) for name in STORED},
    "chatml": CHATML,
    "mistral": MISTRAL,
    "no headers": NO_HEADERS,
    "ends the last turn": ENDS_LAST,
    "numbers": NUMBERS,
    "keeps the last thought": KEEPS_LAST_THOUGHT,
}

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Where is it?"}
USER_2 = {"role": "user", "content": "Since when?"}
HERE = {"role": "assistant", "content": "Here."}
MAY = {"role": "assistant", "content": "Since May."}
SEEN = {**HERE, "reasoning_content": "I see it."}
KNOWN = {**MAY, "reasoning_content": "It was spring."}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "abcdefghi",
            "type": "function",
            "function": {"name": "look_up", "arguments": '{"city": "Oslo"}'},
        }
    ],
}
RAIN = {"role": "tool", "content": "rain", "tool_call_id": "abcdefghi", "name": "look_up"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Name."}}},
    },
}

CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "one turn": ([USER, HERE], None),
    "three turns": ([USER, HERE, USER_2, MAY, USER, HERE], None),
    "a system message": ([SYSTEM, USER, HERE, USER_2, MAY], None),
    "reasoning": ([USER, SEEN], None),
    "reasoning in every turn": ([USER, SEEN, USER_2, KNOWN], None),
    "reasoning in the first turn": ([USER, SEEN, USER_2, MAY], None),
    "a call": ([USER, CALL, RAIN, HERE], [TOOL]),
    "a call and another turn": ([USER, CALL, RAIN, HERE, USER_2, MAY], [TOOL]),
    "a call after reasoning": ([USER, {**CALL, "reasoning_content": "I look."}, RAIN, SEEN], [TOOL]),
    "tools that are not called": ([USER, HERE], [TOOL]),
    "a greeting": ([HERE, USER_2, MAY], None),
    "a turn that is not learned": ([USER, {**HERE, "weight": 0}, USER_2, MAY], None),
    "spaces and line ends": ([USER, {**HERE, "content": "\n\n Here.  \n"}, USER_2, MAY], None),
}

SPECIAL_LIKE = re.compile(
    r"<[|\uff5c][^<>\s'\"{}]+[|\uff5c]>|<\w+_of_turn>|\[gMASK\]|<sop>|<turn\||<end_of_utterance>"
)


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


def spans_of(row: TokenRow) -> list[tuple[int, int]]:
    """Where what is learned begins and ends."""
    edges, inside = [], False
    for place, label in enumerate([*row.labels.tolist(), IGNORED]):
        if (label != IGNORED) != inside:
            edges.append(place)
            inside = not inside
    return list(zip(edges[::2], edges[1::2], strict=True))


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


@pytest.mark.parametrize("make", [tiny_tokenizer, merging_tokenizer], ids=["bytes", "merges"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_learned_turn_follows_the_prompt_of_the_server(name: str, make: Any) -> None:
    template = TEMPLATES[name]
    specials = sorted({*SPECIAL_LIKE.findall(template), "<s>", "</s>", "<|end|>"})
    tokenizer = make(chat_template=template, bos="<s>", eos="</s>", specials=specials)
    source = chat_source(tokenizer)
    assert source is not None
    tokenizer.chat_template = source.text
    for messages, tools in CONVERSATIONS.values():
        tokeniser = Tokeniser(tokenizer, source, max_length=100_000, on_too_long="Fail")
        row = check_messages(messages, where="messages").with_tools(check_tools(tools, None))
        found = list(tokeniser.rows([(1, row)], file=""))
        assert tokeniser.turns is not None
        text = tokeniser.turns.template.arguments_as_text
        reference = Reference(tokenizer, tools, parts=source.content_parts, text=text)
        learned: list[int] = []
        for example in found:
            if isinstance(example, BadRow):
                require_reason(example, messages, reference)
                learned = list(range(len(messages)))
                break
            assert isinstance(example, TokenRow)
            learned += require_same(example, messages, reference, tokenizer, specials)
        turns = [
            index
            for index, message in enumerate(messages)
            if message["role"] == "assistant" and message.get("weight") != 0
        ]
        missing = set(turns).difference(learned)
        assert len(learned) == len(set(learned))
        assert missing <= {0}  # a greeting
        assert len(missing) == tokeniser.turns.notes.unasked
