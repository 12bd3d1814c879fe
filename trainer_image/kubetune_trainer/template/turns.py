"""Finds what is learned of a conversation: of each turn the text that the server has before it, and the turn.

The text before a turn is the rendering of the messages before it with the generation prompt; what is learned
follows it in the rendering that ends with the turn, up to the token that ends it. Turns whose renderings
continue one another share a text. Where a template rewrites what came before (it drops earlier reasoning, or
ends the last turn otherwise), a text is a turn's own. Nothing else is ever learned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..data.chat import Conversation, Message
from ..data.findings import Finding, Findings
from .omissions import require_context, require_rest, require_turn
from .rendering import ChatTemplate

Span = tuple[int, int]

_OPEN_THOUGHT = re.compile(r"<think>\s*\Z")
_EMPTY_THOUGHT = re.compile(r"(<think>\s*)?</think>\s*\Z")
_NO_THOUGHT = re.compile(r"\A\s*(<think>\s*)?</think>\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedText:
    """A text, and the characters of it that are learned: in order, the last of them at its end."""

    text: str
    spans: tuple[Span, ...]


@dataclass(slots=True)
class Notes:
    """Rows with what users should know about them."""

    without_thought: int = 0
    """The prompt opens a thought, and the row has none."""
    unasked: int = 0
    """A turn is not learned, since no request can come before it."""
    names: int = 0
    """The template drops who said something."""


@dataclass(slots=True)
class _Seen:
    without_thought: bool = False
    unasked: bool = False


@dataclass(slots=True)
class TurnFinder:
    """Finds the learned texts of conversations with one template.

    ``ends`` are tokens that can end a turn, as text; ``stops`` those at which the base model's server stops.
    """

    template: ChatTemplate
    ends: Sequence[str]
    stops: frozenset[str]
    notes: Notes = field(default_factory=Notes)
    _run: re.Pattern[str] = field(init=False)
    _token: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        tokens = "|".join(re.escape(token) for token in sorted(self.ends, key=len)[::-1]) or "(?!)"
        self._token = re.compile(tokens)
        self._run = re.compile(rf"(?:(?:{tokens})\s*)+\Z")

    def warnings(self) -> list[str]:
        """What users should know about the rows that were seen."""
        notes, found = self.notes, list[str]()
        if notes.without_thought:
            found.append(
                f"{notes.without_thought:,} rows answer without the reasoning that the template's prompt "
                "begins, and teach the model not to reason: add reasoning, or switch it off in "
                "dataset.chatTemplateKwargs if the template can."
            )
        if notes.unasked:
            found.append(
                f"{notes.unasked:,} rows begin with the assistant: what it says before anybody asked is not "
                "learned, as no request can come before it."
            )
        if notes.names:
            found.append(
                f"In {notes.names:,} rows messages have a name, which the chat template does not write: "
                "write it into the content if it matters."
            )
        if self.template.arguments_as_text:
            found.append(
                "The chat template takes arguments of tool calls as JSON text, where the server gives "
                "objects: requests with earlier calls will be refused. Correct it in dataset.chatTemplate."
            )
        return found

    def whole(self, conversation: Conversation) -> tuple[Conversation, str]:
        """The conversation up to its last learned turn, and its text.

        Raises:
            Findings: the template refuses or drops something of it.
            DataInvalid: it takes no system prompt of the job.
        """
        cut = _up_to_last_trained(conversation)
        text = self.template.whole(cut)
        require_context(cut, text)
        require_rest(cut, self.template.render)
        self.notes.names += self._drops_names(cut, text)
        return cut, text

    def texts(
        self, conversation: Conversation, whole: str, *, goes_on: Callable[[str], bool] = lambda prompt: True
    ) -> Iterator[LearnedText]:
        """The learned texts of what ``whole`` returned, in the order of their last turns.

        ``goes_on`` is asked with each prompt, and ends the search: each turn costs two renderings.

        Raises:
            Findings: no text has what the server would have.
        """
        seen = _Seen()
        served = self.template.served(conversation.messages)
        text, spans = "", list[Span]()
        for index, trained in enumerate(conversation.trained):
            if not trained:
                continue
            if not index:  # no request is empty
                seen.unasked = True
                continue
            try:
                prompt = self.template.render_served(served[:index], conversation.tools, prompt=True)
                if not goes_on(prompt):
                    break
                until = [*served[:index], self.template.said(conversation.messages[index])]
                turned = (
                    whole
                    if len(until) == len(served)
                    else self.template.render_served(until, conversation.tools)
                )
                learned = self._learned(conversation, index, prompt, turned, seen)
            except Findings:
                if any(message["role"] == "user" for message in conversation.messages[:index]):
                    raise
                seen.unasked = True
                continue
            require_turn(conversation.messages[index], conversation.number(index), learned)
            turn = prompt + learned
            if spans and not turn.startswith(text):
                yield LearnedText(text=text, spans=tuple(spans))
                spans = []
            spans.append((len(prompt), len(turn)))
            text = turn
        self.notes.without_thought += seen.without_thought
        self.notes.unasked += seen.unasked
        if spans:
            yield LearnedText(text=text, spans=tuple(spans))
        elif seen.unasked:
            raise Findings([Finding("nothing_to_train", _NOTHING_ASKED)])

    def _learned(self, conversation: Conversation, index: int, prompt: str, text: str, seen: _Seen) -> str:
        """A turn as the served model shall write it after the prompt, with the token that ends it."""
        rest = _after(prompt, text, conversation, index)
        if _OPEN_THOUGHT.search(prompt) and rest.lstrip().startswith("</think>"):
            seen.without_thought = True
        return self._ended(conversation, index, rest)

    def _ended(self, conversation: Conversation, index: int, rest: str) -> str:
        """Without what follows the token at which the server stops, or the last one that can end a turn."""
        run = self._run.search(rest)
        if run is None:
            return rest + self._next_token(conversation, index)
        tokens = [*self._token.finditer(rest, run.start())]
        return rest[: next((token for token in tokens if token[0] in self.stops), tokens[-1]).end()]

    def _next_token(self, conversation: Conversation, index: int) -> str:
        """What comes after a turn without an end of its own, if the server stops there: GLM's next role."""
        messages = conversation.messages
        following = messages[index + 1] if index + 1 < len(messages) else {"role": "user", "content": "?"}
        try:
            before = self.template.render(messages[: index + 1], conversation.tools)
            after = self.template.render([*messages[: index + 1], following], conversation.tools)
        except Findings:
            return ""
        token = self._token.match(after, len(before)) if after.startswith(before) else None
        return token[0] if token and token[0] in self.stops else ""

    def _drops_names(self, conversation: Conversation, text: str) -> bool:
        """Whether names of speakers are not written; those of tools are in the calls."""
        named = [
            message for message in conversation.messages if message.get("name") and message["role"] != "tool"
        ]
        if not named:
            return False
        nameless = [
            {key: value for key, value in message.items() if key != "name" or message["role"] == "tool"}
            for message in conversation.messages
        ]
        return self.template.render(nameless, conversation.tools) == text


def _up_to_last_trained(conversation: Conversation) -> Conversation:
    """What comes after the last learned turn is context of none."""
    count = len(conversation.trained) - conversation.trained[::-1].index(True)
    return replace(conversation, messages=conversation.messages[:count], trained=conversation.trained[:count])


def _after(prompt: str, text: str, conversation: Conversation, index: int) -> str:
    """What follows the prompt in a rendering with the turn.

    The two may differ in the thought that the prompt opens, or leaves empty: the turn then begins after that.
    """
    if text.startswith(prompt):
        return text[len(prompt) :]
    if (opened := _OPEN_THOUGHT.search(prompt)) and text.startswith(prompt[: opened.start()]):
        turn = text[opened.start() :]
        if turn.startswith("<think>"):
            return turn.removeprefix("<think>").lstrip("\n")
        return _thought(conversation.messages[index]) + turn.lstrip("\n")
    if (closed := _EMPTY_THOUGHT.search(prompt)) and text.startswith(prompt[: closed.start()]):
        turn = _NO_THOUGHT.sub("", text[closed.start() :])
        if turn.startswith("<think>"):
            raise _no_room_for_thought(conversation.number(index))
        return turn
    raise _rewrites(conversation.number(index))


def _thought(message: Message) -> str:
    """The message's reasoning, which the template did not write, after a prompt that has opened a thought."""
    reasoning: str = message.get("reasoning_content", "")
    if not reasoning and "</think>" in message["content"]:
        reasoning = message["content"].partition("</think>")[0].rpartition("<think>")[2]
    reasoning = reasoning.strip("\n")
    return f"{reasoning}\n</think>\n\n"


_NOTHING_ASKED = (
    "No turn is learned: the model's chat template refuses the messages before each, so that no request can "
    "come before it."
)


def _no_room_for_thought(number: int) -> Findings:
    message = (
        f"Message {number} has reasoning, but the prompt of the model's chat template ends after an empty "
        "thought: remove the reasoning, or what dataset.chatTemplateKwargs sets about thinking."
    )
    return Findings([Finding("reasoning_dropped", message)])


def _rewrites(number: int) -> Findings:
    message = (
        f"The model's chat template writes message {number} otherwise than its prompt for it begins: the "
        "served model would be asked something else."
    )
    return Findings([Finding("template_rewrites", message)])
