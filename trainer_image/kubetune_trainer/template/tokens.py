"""Turns examples into input_ids and labels, and treats rows that are longer than ``maxLength``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..base.limits import Limits
from ..contract.errors import BadRow, ModelUnavailable
from ..data.chat import Conversation
from ..data.findings import Finding, Findings, findings_of
from ..data.formats import Example, Plain
from ..data.portions import portions
from .encoding import Encoded, Encoder, Tokens
from .rendering import ChatTemplate
from .source import ChatSource
from .turns import LearnedText, Span, TurnFinder

IGNORED = -100
"""Label of a token that is not trained on."""

_PORTION = 1024 * 1024
"""Characters that are encoded together: each token takes about 260 bytes until its row is cut to length."""

_MARGIN = 64
"""Tokens after the kept ones: a text that ends elsewhere may have other tokens at its end."""

_CHARACTERS = 8
"""Characters that are encoded for each token that may be kept; a token of text has four or five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """One example as training reads it: a row, or some of the turns of one that needs several texts."""

    line: int
    input_ids: Tokens
    labels: Tokens
    first: bool = True
    """Whether it is the first of its row."""
    truncated: bool = False
    """Something of the row that should be learned was cut off; said once per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that is left out since it is longer than maxLength."""

    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row whose whole text is known."""

    line: int
    text: str
    source: Conversation | Plain


class Tokeniser:
    """Tokenises batches of examples with the model's tokenizer and chat template.

    ``stops`` are the ids at which the server of the base model stops beside the end-of-sequence token.
    """

    def __init__(
        self,
        tokenizer: Any,
        source: ChatSource | None,
        *,
        max_length: int,
        on_too_long: Literal["Truncate", "Drop", "Fail"],
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        stops: frozenset[int] = frozenset(),
    ) -> None:
        if not tokenizer.is_fast:
            raise ModelUnavailable("The model has no tokenizer.json: save its tokenizer in the fast format.")
        self._tokenizer = tokenizer
        self._encoder = Encoder(tokenizer)
        self._can_end = {
            identity: token.content
            for identity, token in tokenizer.added_tokens_decoder.items()
            if token.special or token.content == tokenizer.eos_token or identity in stops
        }
        own = {tokenizer.eos_token_id, *stops}
        self.turns: TurnFinder | None = None
        """Finds what is learned of conversations; None without a chat template."""
        if source is not None:
            self.turns = TurnFinder(
                template=ChatTemplate(source),
                ends=tuple(self._can_end.values()),
                stops=frozenset(token for identity, token in self._can_end.items() if identity in own),
            )
        self.ends: Counter[int] = Counter()
        """Tokens that end what is learned, of those that can, and how often."""
        self._max_length = max_length
        self._on_too_long = on_too_long
        self._limits = limits

    def warnings(self) -> list[str]:
        """What users should know about the rows that were tokenised."""
        found = self.turns.warnings() if self.turns else []
        if not self.ends:
            found.append(
                "No row ends with a special token of the model, so it does not learn to stop: check its chat "
                "template."
            )
        return found

    @property
    def has_template(self) -> bool:
        """Whether conversations can be read."""
        return self.turns is not None

    def rows(
        self, examples: Sequence[tuple[int, Example]], *, file: str
    ) -> Iterator[TokenRow | Dropped | BadRow]:
        """Tokenise (line, example) pairs, in order; rows that cannot be trained on come out as BadRow.

        What becomes of a bad row before it is found to be one comes out too.
        """
        rows: list[_Row | BadRow] = []
        for line, example in examples:
            try:
                rows.append(self._row(line, example))
            except Exception as error:
                rows += _bad(line, file, error)
        for portion in portions(rows, size=_size, limit=_PORTION):
            encoded = self._encoded([row for row in portion if isinstance(row, _Row)])
            for row in portion:
                if isinstance(row, BadRow):
                    yield row
                    continue
                try:
                    yield from self._tokenised(row, encoded[row.line])
                except Exception as error:
                    yield from _bad(row.line, file, error)

    def _row(self, line: int, example: Example) -> _Row:
        if isinstance(example, Conversation):
            assert self.turns is not None  # RowReader refuses chat rows without a template
            cut, text = self.turns.whole(example)
            text.encode()  # half of a character, escaped in a CSV cell or in a call's arguments
            return _Row(line=line, text=text, source=cut)
        if self.has_template and example.prompt:
            raise AssertionError("prompts of models with a chat template are conversations")
        text = example.prompt + example.completion
        text.encode()
        return _Row(line=line, text=text, source=example)

    def _encoded(self, rows: Sequence[_Row]) -> dict[int, Encoded | Exception]:
        """Encode the rows of a portion; where one fails, one by one, so that only that one fails."""
        found: dict[int, Encoded | Exception] = {}
        for kind in (Conversation, Plain):
            chosen = [row for row in rows if isinstance(row.source, kind)]
            try:
                encoded = self._encode([row.text for row in chosen], special=kind is Plain)
                found |= {row.line: tokens for row, tokens in zip(chosen, encoded, strict=True)}
            except Exception as error:
                if len(chosen) == 1:
                    found[chosen[0].line] = error
                else:
                    for row in chosen:
                        found |= self._encoded([row])
        return found

    def _encode(self, texts: Sequence[str], *, special: bool) -> list[Encoded]:
        """Encode texts; of long ones only a beginning, unless the number of their tokens is to be told."""
        enough = self._max_length + _MARGIN
        limit = None if self._on_too_long == "Fail" else enough * _CHARACTERS
        encoded = self._encoder.encode([text[:limit] for text in texts], special=special)
        # White space, for example, has few tokens: then the whole text is needed.
        short = [
            index
            for index, text in enumerate(texts)
            if len(encoded[index].ids) < enough and len(encoded[index].text) < len(text)
        ]
        wholes = self._encoder.encode([texts[index] for index in short], special=special)
        for index, whole in zip(short, wholes, strict=True):
            encoded[index] = whole
        return encoded

    def _tokenised(self, row: _Row, encoded: Encoded | Exception) -> Iterator[TokenRow | Dropped]:
        if isinstance(encoded, Exception):
            raise encoded
        if isinstance(row.source, Plain):
            yield self._plain(row.line, row.source, encoded)
            return
        try:
            examples, cut = self._learned(row, row.source, encoded)
        except _TooLong as error:
            yield self._dropped(row.line, error.length)
            return
        if not examples:
            yield Dropped(line=row.line)
            return
        for number, (ids, spans) in enumerate(examples):
            self._limits.require(ids, self._tokenizer)
            self.ends.update(int(ids[end - 1]) for _, end in spans if int(ids[end - 1]) in self._can_end)
            last = number + 1 == len(examples)
            yield TokenRow(
                line=row.line,
                input_ids=ids,
                labels=_labels(ids, spans),
                first=not number,
                truncated=cut and last,
            )

    def _learned(
        self, row: _Row, conversation: Conversation, encoded: Encoded
    ) -> tuple[list[tuple[Tokens, list[Span]]], bool]:
        """The row's examples with the tokens that are learned of each, and whether something was cut off."""
        assert self.turns is not None
        limit, truncates = self._max_length, self._on_too_long == "Truncate"
        cut = len(encoded.ids) > limit
        if cut and not truncates:
            raise _TooLong(len(encoded.ids))
        reached = int(encoded.ends[:limit].max(initial=0)) if cut else None

        def goes_on(prompt: str) -> bool:
            # A prompt that is no part of the row's text may be shorter than the text up to there.
            most = reached if reached is None or row.text.startswith(prompt) else 2 * reached
            return most is None or len(prompt) <= most

        found: list[tuple[Tokens, list[Span]]] = []
        known = encoded
        for learned in self.turns.texts(conversation, row.text, goes_on=goes_on):
            whole = encoded.text.startswith(learned.text)
            known = encoded if whole else self._encoder.like(known, learned.text)
            for ids, spans in self._placed(learned, known):
                fitting = [span for span in spans if span[1] <= limit]
                if len(fitting) < len(spans):
                    cut = True
                    if not truncates:
                        raise _TooLong(spans[-1][1])
                if fitting:
                    found.append((ids[: fitting[-1][1]], fitting))
        return found, cut

    def _placed(self, learned: LearnedText, encoded: Encoded) -> Iterator[tuple[Tokens, list[Span]]]:
        """Tokens of a text and places of what is learned; by turn, if the server has others before one."""
        spans: list[Span] = []
        for start, end in learned.spans:
            first, last = self._encoder.boundary(encoded, start), encoded.token_at(end)
            if first is None or last is None:
                break
            spans.append((first, last))
        else:
            yield encoded.ids[: spans[-1][1]], spans
            return
        for start, end in learned.spans:
            before, after = self._encoder.apart(learned.text[:start], learned.text[start:end])
            yield np.concatenate((before, after)), [(len(before), len(before) + len(after))]

    def _plain(self, line: int, source: Plain, encoded: Encoded) -> TokenRow | Dropped:
        """Plain text with the end-of-sequence token, where the tokenizer has not put it there."""
        end: int | None = self._tokenizer.eos_token_id
        if end is None:
            raise ModelUnavailable("The model's tokenizer has no end-of-sequence token: set eos_token.")
        ids = encoded.ids
        if not len(ids) or ids[-1] != end:
            ids = np.append(ids, np.int32(end))
        length, limit = len(ids), self._max_length
        # Text may end anywhere, but not an answer.
        if length > limit and (self._on_too_long != "Truncate" or source.prompt):
            return self._dropped(line, length)
        begin = len(source.prompt)
        learned = (encoded.ends > begin) & (encoded.ends > encoded.starts)
        labels = np.where(np.append(learned, [True] * (length - len(learned))), ids, np.int32(IGNORED))
        labels[-1] = end
        ids, labels = ids[:limit].astype(np.int32), labels[:limit].astype(np.int32)
        self._limits.require(ids, self._tokenizer)
        self.ends[end] += 1
        return TokenRow(line=line, input_ids=ids, labels=labels, truncated=length > limit)

    def _dropped(self, line: int, length: int) -> Dropped:
        if self._on_too_long == "Fail":
            message = (
                f"The row has {length:,} tokens; dataset.maxLength is {self._max_length:,} and onTooLong is "
                "Fail."
            )
            raise Findings([Finding("too_long", message)])
        return Dropped(line=line)


class _TooLong(Exception):  # noqa: N818 - what becomes of the row is dataset.onTooLong's to say
    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


def _labels(ids: Tokens, spans: Sequence[Span]) -> Tokens:
    labels = np.full(len(ids), IGNORED, dtype=np.int32)
    for start, end in spans:
        labels[start:end] = ids[start:end]
    return labels


def _bad(line: int, file: str, error: Exception) -> list[BadRow]:
    return [
        BadRow(line=line, kind=found.kind, message=found.message, file=file) for found in findings_of(error)
    ]


def _size(row: _Row | BadRow) -> int:
    return len(row.text) if isinstance(row, _Row) else 0
