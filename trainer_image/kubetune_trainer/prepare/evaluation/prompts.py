"""The prompts of a question: without examples, and with those of each baseline that has some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...contract.errors import InvalidInput
from ...contract.evaluation import BaselineConfig
from ...data.chat import INSTRUCTS
from ...data.findings import Finding, Findings
from ...scoring.questions import Prompt
from ..compared import Line
from .asked import Asked
from .corpus import Corpus, Index
from .exchange import Exchange
from .requests import Prompter

_SPARE = 2
"""Drawn examples more than asked for: a question leaves out its own row, and one that asks the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Tokens that a server has for prompt and answer."""

    context: int | None
    """None where nothing limits it."""
    answer: int

    def holds(self, prompt: Prompt) -> bool:
        """Whether an answer fits behind the prompt."""
        return self.context is None or prompt.tokens + self.answer <= self.context

    def too_long(self, prompt: Prompt) -> Findings:
        """What is wrong with a prompt that does not fit, and what to lower."""
        message = (
            f"Its prompt has {prompt.tokens:,} tokens, which with {self.answer:,} for the answer are more "
            f"than the server's {self.context:,}: lower evaluation.generation.maxTokens, raise max-model-len "
            "in serving.engineArgs if the model reads more, or shorten the row."
        )
        return Findings([Finding("prompt_too_long", message)])


def plain(asked: Asked, prompter: Prompter, room: Room) -> Prompt:
    """The prompt without examples; raises Findings where it does not fit, or the template refuses it."""
    prompt = _made(asked, (), prompter)
    if not room.holds(prompt):
        raise room.too_long(prompt)
    return prompt


class Chooser:
    """Chooses the examples of every question, by the baseline's name; the nearest comes last."""

    def __init__(self, baselines: Sequence[BaselineConfig], corpus: Corpus, *, seed: int) -> None:
        self._corpus = corpus
        self._drawn: list[int] = []
        self._index: Index | None = None
        self._baselines = [one for one in baselines if one.type != "Base"]
        for one in self._baselines:
            if one.type == "FewShot":
                self._drawn = corpus.drawn(one.examples + _SPARE, seed=seed)
            else:
                self._index = corpus.index()

    def lines(self, asked: Asked) -> dict[str, list[Line]]:
        """Where the examples of a question stand."""
        own = self._corpus.own(asked.keys)
        found: dict[str, list[Line]] = {}
        for one in self._baselines:
            if self._index is not None and one.type == "Retrieval":
                rows = self._index.nearest(asked.ask, one.examples, without=own)[::-1]
            else:
                rows = [row for row in self._drawn if not own[row]][: one.examples]
            found[one.type] = [self._corpus.line(row) for row in rows]
        return found


@dataclass(slots=True)
class Examples:
    """Puts examples into prompts, as many as fit, and counts those that do not."""

    exchanges: Mapping[Line, Exchange]
    prompter: Prompter
    room: Room
    left_out: Counter[str] = field(default_factory=Counter)
    """Examples that did not fit, by the baseline's name."""
    prompts_cut: Counter[str] = field(default_factory=Counter)
    """Prompts with fewer examples than asked for, since they did not fit."""

    def prompt(self, name: str, asked: Asked, lines: Sequence[Line]) -> Prompt:
        """The prompt with the examples at these lines; the farthest is left out first.

        Raises:
            InvalidInput: the template refuses examples.
        """
        examples = [self.exchanges[line] for line in lines]
        for start in range(len(examples) + 1):
            try:
                prompt = _made(asked, examples[start:], self.prompter)
            except Findings as error:
                if start == len(examples):
                    raise
                raise InvalidInput(
                    f"evaluation.baselines {name}: the chat template takes no examples as earlier turns "
                    f"before line {asked.line.number} of {asked.line.file}: {error.findings[0].message} "
                    "Remove the baseline."
                ) from None
            if self.room.holds(prompt):
                break
        self.left_out[name] += start
        self.prompts_cut[name] += start > 0
        return prompt

    def warnings(self, total: int) -> list[str]:
        """What did not fit."""
        return [
            f"In {self.prompts_cut[name]:,} of {total:,} prompts of {name} not all examples fit the server's "
            f"{self.room.context:,} tokens: {count:,} {'was' if count == 1 else 'were'} left out, the "
            "farthest first."
            for name, count in self.left_out.items()
            if count
        ]


def _made(asked: Asked, examples: Sequence[Exchange], prompter: Prompter) -> Prompt:
    """A prompt; examples stand after the messages that instruct, or before the text."""
    if isinstance(asked.before, str):
        return prompter.text("\n\n".join([*(example.text.strip() for example in examples), asked.before]))
    begin = 0
    while asked.before[begin]["role"] in INSTRUCTS:
        begin += 1
    shown = [message for example in examples for message in example.messages or ()]
    return prompter.chat([*asked.before[:begin], *shown, *asked.before[begin:]], asked.tools)
