"""Turns examples into input_ids and labels, and treats rows that are longer than ``maxLength``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..base.limits import Limits
from ..contract.errors import BadRow, ModelUnavailable
from ..data.chat import Conversation
from ..data.findings import Finding, Findings, findings_of
from ..data.formats import Example, Plain
from ..data.portions import portions
from .labels import ChatTemplate, Rendered, Span

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
    """One row as training reads it."""

    line: int
    input_ids: list[int]
    labels: list[int]
    truncated: bool = False
    answer_cut: bool = False
    """Part of what should be learned was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row longer than maxLength that ``onTooLong: Drop`` leaves out."""

    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What the tokenizer gets of a row."""

    line: int
    source: Rendered | Plain
    """Of a conversation, special tokens and the end are in the text; else the tokenizer adds them."""

    @property
    def text(self) -> str:
        return (
            self.source.text
            if isinstance(self.source, Rendered)
            else self.source.prompt + self.source.completion
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A text's tokens, or enough of them to know the kept ones and that there are more."""

    input_ids: list[int]
    offsets: Sequence[Span]
    characters: int
    """Of the text, those that were encoded."""


Result = TokenRow | Dropped | list[Finding]


class Tokeniser:
    """Tokenises batches of examples with the model's tokenizer and chat template."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_length: int,
        on_too_long: Literal["Truncate", "Drop", "Fail"],
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
    ) -> None:
        if not tokenizer.is_fast:
            raise ModelUnavailable("The model has no tokenizer.json: save its tokenizer in the fast format.")
        self.has_template = bool(tokenizer.chat_template)
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer) if self.has_template else None
        self._ends = {
            identity
            for identity, token in tokenizer.added_tokens_decoder.items()
            if token.special or token.content == tokenizer.eos_token
        }
        self.rows_with_end = 0
        """Rows in which the last thing that is learned is a token that can end a turn."""
        self._max_length = max_length
        self._on_too_long = on_too_long
        self._limits = limits

    def rows(
        self, examples: Sequence[tuple[int, Example]], *, file: str
    ) -> list[TokenRow | Dropped | BadRow]:
        """Tokenise (line, example) pairs, in order; rows that cannot be trained on come out as BadRow."""
        results: dict[int, Result] = {}
        texts: list[_Text] = []
        for line, example in examples:
            try:
                texts.append(_Text(line=line, source=self._source(example)))
            except Exception as error:
                results[line] = list(findings_of(error))
        for kind in (Rendered, Plain):
            chosen = [text for text in texts if isinstance(text.source, kind)]
            for portion in portions(chosen, size=lambda text: len(text.text), limit=_PORTION):
                results |= self._results(portion)
        rows: list[TokenRow | Dropped | BadRow] = []
        for line, _ in examples:
            result = results[line]
            if isinstance(result, list):
                rows += [
                    BadRow(line=line, kind=found.kind, message=found.message, file=file) for found in result
                ]
            else:
                rows.append(result)
        return rows

    def _source(self, example: Example) -> Rendered | Plain:
        if isinstance(example, Conversation):
            assert self._template is not None  # RowReader refuses chat rows without a template
            rendered = self._template.rendered(example)
            rendered.text.encode()  # half of a character, escaped in a CSV cell or in a call's arguments
            return rendered
        if self.has_template and example.prompt:
            raise AssertionError("prompts of models with a chat template are conversations")
        (example.prompt + example.completion).encode()
        return example

    def _results(self, texts: Sequence[_Text]) -> dict[int, Result]:
        """Encode texts of one kind together; where one fails, one by one, so that only that one fails."""
        try:
            encoded = self._encode(texts)
        except Exception as error:
            if len(texts) == 1:
                return {texts[0].line: list(findings_of(error))}
            single: dict[int, Result] = {}
            for text in texts:
                single |= self._results([text])
            return single
        results: dict[int, Result] = {}
        for text, tokens in zip(texts, encoded, strict=True):
            try:
                results[text.line] = self._fit(text, tokens)
            except Exception as error:
                results[text.line] = list(findings_of(error))
        return results

    def _encode(self, texts: Sequence[_Text]) -> list[_Encoded]:
        """Encode texts; of long ones only a beginning, unless the number of their tokens is to be told."""
        enough = self._max_length + _MARGIN
        limit = None if self._on_too_long == "Fail" else enough * _CHARACTERS
        encoded = self._encode_all(texts, limit)
        # White space, for example, has few tokens: then the whole text is needed.
        short = [
            index
            for index, text in enumerate(texts)
            if len(encoded[index].input_ids) < enough and encoded[index].characters < len(text.text)
        ]
        for index, whole in zip(
            short, self._encode_all([texts[index] for index in short], None), strict=True
        ):
            encoded[index] = whole
        return encoded

    def _encode_all(self, texts: Sequence[_Text], limit: int | None) -> list[_Encoded]:
        if not texts:
            return []
        strings = [text.text[:limit] for text in texts]
        encoded = self._tokenizer(
            strings,
            add_special_tokens=not isinstance(texts[0].source, Rendered),
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # "longer than the maximum length" is what this module is for
        )
        return [
            _Encoded(input_ids=input_ids, offsets=offsets, characters=len(string))
            for string, input_ids, offsets in zip(
                strings, encoded["input_ids"], encoded["offset_mapping"], strict=True
            )
        ]

    def _fit(self, text: _Text, encoded: _Encoded) -> TokenRow | Dropped:
        """Bring a row to its length, and find its labels."""
        input_ids = [*encoded.input_ids, *self._end_of(text, encoded.input_ids)]
        length, limit = len(input_ids), self._max_length
        if length > limit:
            if self._on_too_long == "Drop":
                return Dropped(line=text.line)
            if self._on_too_long == "Fail":
                message = (
                    f"The row has {length:,} tokens; dataset.maxLength is {limit:,} and onTooLong is Fail."
                )
                raise Findings([Finding("too_long", message)])
        self._limits.require(input_ids[:limit], self._tokenizer)
        spans = self._spans(text, encoded, cut=length > limit)
        labels = _labels(input_ids, encoded.offsets, spans)
        if isinstance(text.source, Plain):
            labels[-1] = input_ids[-1]  # the end
        kept = labels[:limit]
        if all(label == IGNORED for label in kept[1:]):  # the first token is never predicted
            raise Findings([Finding("nothing_to_train", self._nothing(length > limit))])
        cut = any(label != IGNORED for label in labels[limit:]) or any(
            end > encoded.characters for _, end in spans
        )
        self.rows_with_end += next(label for label in reversed(kept) if label != IGNORED) in self._ends
        return TokenRow(
            line=text.line, input_ids=input_ids[:limit], labels=kept, truncated=length > limit, answer_cut=cut
        )

    def _end_of(self, text: _Text, input_ids: Sequence[int]) -> list[int]:
        """The end-of-sequence token, where neither the text nor the tokenizer has it."""
        if isinstance(text.source, Rendered):
            return []
        end: int | None = self._tokenizer.eos_token_id
        if end is None:
            raise ModelUnavailable("The model's tokenizer has no end-of-sequence token: set eos_token.")
        return [] if input_ids[-1:] == [end] else [end]

    def _spans(self, text: _Text, encoded: _Encoded, *, cut: bool) -> Sequence[Span]:
        """Characters that are trained on."""
        source = text.source
        if isinstance(source, Plain):
            return [(len(source.prompt), len(source.prompt) + len(source.completion))]
        assert self._template is not None
        reached = max((end for _, end in encoded.offsets[: self._max_length]), default=0)
        return self._template.assistant_spans(source, until=reached if cut else None)

    def _nothing(self, too_long: bool) -> str:
        if not too_long:
            return "No token of the row is trained on: the assistant says nothing that the template keeps."
        return (
            f"The first {self._max_length:,} tokens (dataset.maxLength) of the row hold nothing of the "
            "answer: raise maxLength, shorten the prompt, or set onTooLong to Drop."
        )


def _labels(input_ids: Sequence[int], offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """Tokens that touch a span keep their id, others are ignored; spans and offsets are in order."""
    labels = [IGNORED] * len(input_ids)
    remaining = iter(spans)
    span = next(remaining, None)
    for position, (start, end) in enumerate(offsets):
        while span is not None and start >= span[1]:
            span = next(remaining, None)
        if span is None:
            break
        if end > span[0] and end > start:
            labels[position] = input_ids[position]
    return labels
