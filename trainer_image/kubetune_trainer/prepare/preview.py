"""Shows people what will be learned, before a GPU is paid for: a page, and the first rows as text.

It is made from the tokens and labels that training reads, so that a wrong mask is seen.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..data.row_files import RowFile
from ..pages import document
from .sample import Place

Kind = Literal["context", "learned"]

_ENDS = 1500
"""Tokens that are shown of the beginning and of the end of a row."""

_LOGGED_CHARACTERS = 1200
"""Of each row in the log."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring tokens of one kind, as text."""

    kind: Kind
    text: str
    special: bool = False
    """It is one control token."""


class Decoder:
    """Turns tokens of a row into runs of text."""

    def __init__(self, tokenizer: Any) -> None:
        self._decode: Callable[[Sequence[int]], str] = lambda ids: tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        added = tokenizer.added_tokens_decoder
        self._special = {identity for identity, token in added.items() if token.special}

    def runs(self, input_ids: Sequence[int], labels: Sequence[int]) -> Iterator[Run]:
        """Runs of a row, in order; a label below 0 is context."""
        start = 0
        for end in range(1, len(input_ids) + 1):
            if end < len(input_ids) and self._class(input_ids, labels, end) == self._class(
                input_ids, labels, start
            ):
                continue
            learned, special = self._class(input_ids, labels, start)
            step = 1 if special else end - start
            for at in range(start, end, step):
                yield Run("learned" if learned else "context", self._text(input_ids, at, at + step), special)
            start = end

    def _class(self, input_ids: Sequence[int], labels: Sequence[int], index: int) -> tuple[bool, bool]:
        return labels[index] >= 0, input_ids[index] in self._special

    def _text(self, input_ids: Sequence[int], start: int, end: int) -> str:
        """Some tokenizers drop the space before the first token that they are given."""
        own = list(input_ids[start:end])
        if start == 0 or input_ids[start] in self._special:
            return self._decode(own)
        before = self._decode([input_ids[start - 1]])
        together = self._decode([input_ids[start - 1], *own])
        return together.removeprefix(before) if together.startswith(before) else self._decode(own)


def as_text(runs: Sequence[Run]) -> str:
    """A row on one line, of bounded length; what is learned stands in brackets: ``context ⟦learned⟧``."""
    parts = []
    for index, run in enumerate(runs):
        learned = run.kind == "learned"
        opens = learned and (index == 0 or runs[index - 1].kind != "learned")
        closes = learned and (index + 1 == len(runs) or runs[index + 1].kind != "learned")
        parts.append(f"{'⟦' if opens else ''}{_printable(run.text)}{'⟧' if closes else ''}")
    text = "".join(parts)
    if len(text) <= _LOGGED_CHARACTERS:
        return text
    half = _LOGGED_CHARACTERS // 2
    return f"{text[:half]} ... {len(text) - 2 * half:,} characters ... {text[-half:]}"


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def page(
    *, title: str, facts: Sequence[str], rows: RowFile, places: Sequence[Place], decoder: Decoder
) -> Iterator[str]:
    """Parts of a page of HTML that needs nothing else, with these rows of a file."""
    yield document.head(title, _STYLES)
    yield "<ul>\n" + "".join(f"<li>{html.escape(fact)}</li>\n" for fact in facts)
    yield _LEGEND
    for place in places:
        row = rows[place.index]
        input_ids, labels = row["input_ids"].tolist(), row["labels"].tolist()
        learned = sum(label >= 0 for label in labels)
        where = html.escape(f"{place.file}, line {place.line:,}")
        yield f"<section><h2>{where} <small>{place.length:,} tokens, {learned:,} learned</small></h2>\n<pre>"
        for part in _shown(len(input_ids)):
            if part.start:
                yield f"<i>... {part.start - _ENDS:,} tokens ...</i>"
            for run in decoder.runs(input_ids[part], labels[part]):
                text = html.escape(run.text)
                yield f'<span class="{run.kind}{" special" if run.special else ""}">{text}</span>'
        yield "</pre></section>\n"
    yield document.foot()


def _shown(length: int) -> list[slice]:
    """Parts of a row of so many tokens: all of it, or its beginning and its end."""
    if length <= 2 * _ENDS:
        return [slice(0, length)]
    return [slice(0, _ENDS), slice(length - _ENDS, length)]


_STYLES = """:root { --learned: #0a3d1c; --mark: #b9ecc6; }
@media (prefers-color-scheme: dark) { :root { --learned: #d6ffe1; --mark: #1d5a34; } }
@media print { :root { --learned: #0a3d1c; --mark: #b9ecc6; } }
.context { color: var(--quiet); }
.learned { color: var(--learned); background: var(--mark); }
.special { border: 1px solid var(--edge); border-radius: 3px; padding: 0 .2em; font-size: .85em; }
i { display: block; color: var(--quiet); }
"""

_LEGEND = """</ul>
<p><span class="learned">Learned</span> tokens count in the loss, <span class="context">context</span> is
only read; <span class="context special">control tokens</span> have a border.</p>
"""
