"""Turns examples into input_ids and labels, and treats rows that are longer than ``maxLength``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .chat import Conversation
from .errors import BadRow, ModelUnavailable
from .findings import Finding, Findings, findings_of
from .formats import Example
from .labels import ChatTemplate, Span
from .limits import Limits

IGNORED = -100
"""Label of a token that is not trained on."""


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
    """Rendered text with the characters that are trained on."""

    line: int
    text: str
    spans: Sequence[Span]
    template: bool
    """Special tokens and the end are in the text; else the tokenizer adds them."""


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
        results: dict[int, TokenRow | Dropped | list[Finding]] = {}
        texts: list[_Text] = []
        for line, example in examples:
            try:
                texts.append(self._text(line, example))
            except Exception as error:
                results[line] = list(findings_of(error))
        for template in (True, False):
            results |= self._fitted([text for text in texts if text.template is template], template=template)
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

    def _fitted(
        self, texts: Sequence[_Text], *, template: bool
    ) -> dict[int, TokenRow | Dropped | list[Finding]]:
        """Encode texts together; where one of them fails, one by one, so that the others do not fail too."""
        try:
            encoded = self._encode(texts, template=template)
        except Exception as error:
            if len(texts) == 1:
                return {texts[0].line: list(findings_of(error))}
            single: dict[int, TokenRow | Dropped | list[Finding]] = {}
            for text in texts:
                single |= self._fitted([text], template=template)
            return single
        results: dict[int, TokenRow | Dropped | list[Finding]] = {}
        for text, (input_ids, labels) in zip(texts, encoded, strict=True):
            try:
                results[text.line] = self._fit(text.line, input_ids, labels)
            except Exception as error:
                results[text.line] = list(findings_of(error))
        return results

    def _text(self, line: int, example: Example) -> _Text:
        if isinstance(example, Conversation):
            assert self._template is not None  # RowReader refuses chat rows without a template
            text, spans = self._template.assistant_spans(example)
            text.encode()  # half of a character, written as an escape in a CSV cell or in a call's arguments
            return _Text(line=line, text=text, spans=spans, template=True)
        if self.has_template and example.prompt:
            raise AssertionError("prompts of models with a chat template are conversations")
        text = example.prompt + example.completion
        return _Text(line=line, text=text, spans=[(len(example.prompt), len(text))], template=False)

    def _encode(self, texts: Sequence[_Text], *, template: bool) -> list[tuple[list[int], list[int]]]:
        if not texts:
            return []
        encoded = self._tokenizer(
            [text.text for text in texts],
            add_special_tokens=not template,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # "longer than the maximum length" is what this module is for
        )
        end: int | None = self._tokenizer.eos_token_id
        rows = []
        for text, input_ids, offsets in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            labels = _labels(input_ids, offsets, text.spans)
            if not template:
                if end is None:
                    raise ModelUnavailable(
                        "The model's tokenizer has no end-of-sequence token: set eos_token."
                    )
                if input_ids[-1:] != [end]:
                    input_ids.append(end)
                    labels.append(end)
                labels[-1] = end
            rows.append((input_ids, labels))
        return rows

    def _fit(self, line: int, input_ids: list[int], labels: list[int]) -> TokenRow | Dropped:
        length, limit = len(input_ids), self._max_length
        if length > limit:
            if self._on_too_long == "Drop":
                return Dropped(line=line)
            if self._on_too_long == "Fail":
                message = (
                    f"The row has {length:,} tokens; dataset.maxLength is {limit:,} and onTooLong is Fail."
                )
                raise Findings([Finding("too_long", message)])
        self._limits.require(input_ids[:limit], self._tokenizer)
        kept = labels[:limit]
        if all(label == IGNORED for label in kept[1:]):  # the first token is never predicted
            raise Findings([Finding("nothing_to_train", self._nothing(length))])
        cut = any(label != IGNORED for label in labels[limit:])
        self.rows_with_end += next(label for label in reversed(kept) if label != IGNORED) in self._ends
        return TokenRow(
            line=line, input_ids=input_ids[:limit], labels=kept, truncated=length > limit, answer_cut=cut
        )

    def _nothing(self, length: int) -> str:
        if length <= self._max_length:
            return "No token of the row is trained on: the assistant says nothing that the template keeps."
        return (
            f"Of {length:,} tokens the first {self._max_length:,} (dataset.maxLength) hold nothing of the "
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
