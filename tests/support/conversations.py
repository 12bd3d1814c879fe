"""Chat templates and conversations over which what is learned is compared with what a server is asked.

All templates that TRL ships, and own ones with what those lack; conversations as rows have them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetune_trainer.contract.errors import BadRow
from kubetune_trainer.data.chat import check_messages
from kubetune_trainer.data.tools import check_tools
from kubetune_trainer.template.source import ChatSource, chat_source
from kubetune_trainer.template.tokens import IGNORED, Tokeniser, TokenRow
from tests.support.chat_templates import CHATML, MISTRAL, stored_template
from tests.support.tiny_model import merging_tokenizer, tiny_tokenizer

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


def _calls(*arguments: str) -> dict[str, Any]:
    (call,) = CALL["tool_calls"]
    calls = [
        {**call, "id": f"abcdefgh{index}", "function": {"name": "look_up", "arguments": text}}
        for index, text in enumerate(arguments)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _parts(role: str, *texts: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


RAINS = [{**RAIN, "tool_call_id": f"abcdefgh{index}"} for index in range(2)]
_OTHER = '{"city": "Ålesund", "days": 2, "from": {"hour": 7.50, "zones": [null, true, 1e3, "<b>&\'"]}}'
_BARE = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
_MORE = {
    "type": "function",
    "function": {
        "strict": True,
        "parameters": TOOL["function"]["parameters"],
        "name": "find",
        "description": "Ä.",
    },
}

FORMS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "a list of one part": ([_parts("system", "Be brief."), _parts("user", "Where?"), HERE], None),
    "several parts": (
        [_parts("user", "Where", "is it?"), HERE, _parts("user", "And ", "since when?"), MAY],
        None,
    ),
    "several parts of a system message": ([_parts("system", "Be brief.", "Be kind."), USER, HERE], None),
    "several calls": ([USER, _calls('{"city": "Oslo"}', _OTHER), *RAINS, HERE], [TOOL]),
    "calls without arguments": ([USER, _calls("{}", ""), *RAINS, HERE], [TOOL]),
    "an empty result": ([USER, CALL, {**RAIN, "content": ""}, HERE], [TOOL]),
    "a result in parts": ([USER, CALL, {**RAIN, **_parts("tool", "rain", "snow")}, HERE], [TOOL]),
    "a call with words": ([USER, {**CALL, "content": "I look."}, RAIN, HERE, USER_2, MAY], [TOOL]),
    "other tools": ([USER, CALL, RAIN, HERE], [_BARE, _MORE]),
    "a developer": ([{**SYSTEM, "role": "developer"}, USER, HERE], None),
    "a developer and tools": ([{**SYSTEM, "role": "developer"}, USER, CALL, RAIN, HERE], [TOOL]),
    "a later developer": ([SYSTEM, USER, HERE, {**SYSTEM, "role": "developer"}, USER_2, MAY], None),
    "an early developer": ([SYSTEM, {**_parts("developer", "Be", "kind."), "name": "ada"}, USER, HERE], None),
    "two system messages": ([SYSTEM, {**SYSTEM, "content": "Be kind."}, USER, HERE], None),
    "a later system message": ([USER, HERE, SYSTEM, USER_2, MAY], None),
    "names": ([{**USER, "name": "ada"}, {**HERE, "name": "bot"}, {**USER_2, "name": "bob"}, MAY], None),
    "two users": ([USER, USER_2, MAY], None),
    "two answers": ([USER, HERE, MAY, USER_2, MAY], None),
    "other characters": (
        [{**USER, "content": "\t Où?\r\n\u00a0<|im_end|>\u2028🙂 "}, HERE, USER_2, MAY],
        None,
    ),
    "thoughts in the text": ([USER, {**HERE, "content": "<think>I see.</think>Here."}, USER_2, MAY], None),
}
"""Other forms of messages, in which clients send them too."""

SPECIAL_LIKE = re.compile(
    r"<[|\uff5c][^<>\s'\"{}]+[|\uff5c]>|<\w+_of_turn>|\[gMASK\]|<sop>|<turn\||<end_of_utterance>"
)

TOKENIZERS: dict[str, Callable[..., Any]] = {"bytes": tiny_tokenizer, "merges": merging_tokenizer}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A tokenizer with one of TEMPLATES, as training and the server have them."""

    tokenizer: Any
    source: ChatSource
    specials: list[str]

    def tokeniser(self) -> Tokeniser:
        """A tokeniser that has seen no row."""
        return Tokeniser(self.tokenizer, self.source, max_length=100_000, on_too_long="Fail")


def learner(template: str, tokenizer: str, **arguments: Any) -> Learner:
    """Put a template of TEMPLATES into a tokenizer of TOKENIZERS, with every token that it writes."""
    text = TEMPLATES[template]
    specials = sorted({*SPECIAL_LIKE.findall(text), "<s>", "</s>", "<|end|>"})
    made = TOKENIZERS[tokenizer](chat_template=text, bos="<s>", eos="</s>", specials=specials)
    source = chat_source(made, arguments=arguments)
    assert source is not None
    made.chat_template = source.text
    return Learner(tokenizer=made, source=source, specials=specials)


def examples(
    tokeniser: Tokeniser, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> list[TokenRow] | BadRow:
    """What training makes of a conversation: examples, or why it refuses the row."""
    row = check_messages(messages, where="messages").with_tools(check_tools(tools, None))
    found = list(tokeniser.rows([(1, row)], file=""))
    refused = [example for example in found if isinstance(example, BadRow)]
    return refused[0] if refused else [example for example in found if isinstance(example, TokenRow)]


def trained_turns(messages: list[dict[str, Any]]) -> list[int]:
    """Indexes of the turns that a row asks to learn."""
    return [
        index
        for index, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("weight") != 0
    ]


def spans_of(row: TokenRow) -> list[tuple[int, int]]:
    """Where what is learned begins and ends."""
    edges, inside = [], False
    for place, label in enumerate([*row.labels.tolist(), IGNORED]):
        if (label != IGNORED) != inside:
            edges.append(place)
            inside = not inside
    return list(zip(edges[::2], edges[1::2], strict=True))
