"""What a row says, in two numbers: rows that differ in case, spaces or punctuation alone have the same.

For finding rows that stand on both sides of training and validation. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import NamedTuple

from .chat import Conversation, Message
from .formats import Example
from .punctuation import punctuation

NO_PROMPT = 0
"""In the place of a prompt's digest, for rows that have none."""

_BYTES = 8
"""Of a digest: among ten million rows two that differ have the same one in one of 400,000 cases."""


class Likeness(NamedTuple):
    """Digests of 64 bits."""

    whole: int
    """Of prompt and answer."""
    prompt: int
    """Of what stands before the last learned answer, or NO_PROMPT."""


def likeness(example: Example) -> Likeness:
    """What is compared of a row."""
    if not isinstance(example, Conversation):
        prompt, answer = [folded(example.prompt)], [folded(example.completion)]
        return Likeness(_digest([*prompt, *answer]), _digest(prompt) if example.prompt.strip() else NO_PROMPT)
    said = [_said(message) for message in example.messages]
    last = max(index for index, trained in enumerate(example.trained) if trained)
    return Likeness(_digest(chain(*said)), _digest(chain(*said[:last])) if last else NO_PROMPT)


def folded(text: str) -> str:
    """A text without what spellings of it differ in: case, spaces, punctuation, and Unicode's forms.

    Punctuation before a digit stays: -5 is not 5, and 3.5 not 35. So do symbols, such as + and <, and a text
    of nothing else than punctuation.
    """
    form = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_punctuation().sub(" ", form).split()) or " ".join(form.split())


def _said(message: Message) -> tuple[str, ...]:
    """Who says it, what, and which tools are called; ids of calls are accidental."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    return (
        message["role"],
        folded(message["content"]),
        folded(message.get("reasoning_content", "")),
        json.dumps(calls, sort_keys=True) if calls else "",
    )


def _digest(texts: Iterable[str]) -> int:
    """Digest of texts with their boundaries; never NO_PROMPT."""
    hashed = hashlib.blake2b(digest_size=_BYTES)
    for text in texts:
        content = text.encode(errors="surrogatepass")
        hashed.update(len(content).to_bytes(8, "little") + content)
    return max(NO_PROMPT + 1, int.from_bytes(hashed.digest(), "little"))


@cache
def _punctuation() -> re.Pattern[str]:
    """Punctuation, but for what a digit follows."""
    return re.compile(rf"[{re.escape(punctuation())}]+(?!\d)")
