"""What a training row is as an example in a prompt: its last learned exchange of question and answer."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ...data.chat import Message
from ...data.formats import Example, Plain
from ...data.likeness import likeness


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """From a user's message to the answer, with calls and results between them; or text."""

    ask: str
    answer: str
    """With the calls that it makes; what tells answers apart."""
    messages: tuple[Message, ...] | None
    """In the form of chat templates; None of text."""

    @property
    def text(self) -> str:
        """Of text: prompt and completion."""
        return f"{self.ask}{self.answer}"


def exchange_of(example: Example) -> Exchange | None:
    """The example that a row is; None where nobody asks."""
    if isinstance(example, Plain):
        if not example.prompt.strip():
            return None
        return Exchange(ask=example.prompt, answer=example.completion, messages=None)
    end = max(index for index, learned in enumerate(example.trained) if learned)
    users = [index for index in range(end) if example.messages[index]["role"] == "user"]
    if not users:
        return None
    # Reasoning is not shown again: templates drop that of earlier turns.
    messages = tuple(
        {key: value for key, value in message.items() if key != "reasoning_content"}
        for message in example.messages[users[-1] : end + 1]
    )
    calls = [call["function"] for call in messages[-1].get("tool_calls", ())]
    called = json.dumps(calls, sort_keys=True) if calls else ""
    answer = f"{messages[-1]['content']}{called}"
    return Exchange(ask=messages[0]["content"], answer=answer, messages=messages)


def key_of(text: str) -> int:
    """Digest of a text without what spellings of it differ in."""
    return likeness(Plain(prompt=text, completion="")).prompt
