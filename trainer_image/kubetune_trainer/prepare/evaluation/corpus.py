"""The training rows that examples are taken from: what is asked in them, and where they stand.

Examples of FewShot are drawn once for all questions; those of Retrieval are the nearest to each question by
BM25 (Robertson and Zaragoza 2009, in the variant of Lucene), as the library bm25s computes it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.formats import Example
from ...data.likeness import likeness
from ..compared import Digests, Line
from .asked import Keys
from .exchange import exchange_of, key_of

MOST_ROWS = 100_000
"""Rows of a corpus: with more, it is a sample. Each takes up to 2 kB, and its words."""

_CHARACTERS = 2000
"""Of what is asked, from its beginning, by which rows are found."""

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
"""A word, or a character of scripts that write without spaces. No stop words: rows may have any language."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: Line
    ask: str
    whole: int
    prompt: int
    ask_key: int
    answer_key: int


class Corpus:
    """Training rows in their order, no two of them alike."""

    def __init__(self, rows: Sequence[_Row], seen: int) -> None:
        self.seen = seen
        """Training rows that can be examples; the corpus may have fewer."""
        _, first = np.unique(_digests(row.whole for row in rows), return_index=True)
        self._rows = [rows[index] for index in sorted(first.tolist())]
        self._wholes = _digests(row.whole for row in self._rows)
        self._prompts = _digests(row.prompt for row in self._rows)
        self._asks = _digests(row.ask_key for row in self._rows)

    @classmethod
    def sample(cls, rows: Iterable[tuple[Line, Example]], *, seed: int, most: int = MOST_ROWS) -> Corpus:
        """Take all rows, or ``most`` of them, each with the same chance: reservoir sampling, algorithm R."""
        source = random.Random(f"{seed}/corpus")
        kept: list[tuple[int, _Row]] = []
        seen = 0
        for line, example in rows:
            if (exchange := exchange_of(example)) is None:
                continue
            place = seen if seen < most else source.randrange(seen + 1)
            seen += 1
            if place >= most:
                continue
            found = likeness(example)
            row = _Row(
                line,
                exchange.ask[:_CHARACTERS],
                found.whole,
                found.prompt,
                key_of(exchange.ask),
                key_of(exchange.answer),
            )
            if place == len(kept):
                kept.append((seen, row))
            else:
                kept[place] = (seen, row)
        return cls([row for _, row in sorted(kept, key=lambda pair: pair[0])], seen)

    def __len__(self) -> int:
        return len(self._rows)

    def line(self, row: int) -> Line:
        """Where a row stands."""
        return self._rows[row].line

    def own(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which rows are the question's own, or ask the same: they would tell the answer."""
        prompt, ask = np.uint64(keys.prompt), np.uint64(keys.ask)
        return (self._wholes == np.uint64(keys.whole)) | (self._prompts == prompt) | (self._asks == ask)

    def drawn(self, count: int, *, seed: int) -> list[int]:
        """Rows in the order of a draw, of which no two ask the same; different answers come first.

        The draw is gone through in rounds, each of which takes one row of every answer: with fewer answers
        than examples they are balanced.
        """
        order = list(range(len(self)))
        random.Random(f"{seed}/examples").shuffle(order)
        asks: set[int] = set()
        answers: Counter[int] = Counter()
        rounds: list[tuple[int, int]] = []
        for row in order:
            found = self._rows[row]
            if found.ask_key in asks:
                continue
            asks.add(found.ask_key)
            rounds.append((answers[found.answer_key], row))
            answers[found.answer_key] += 1
        return [row for _, row in sorted(rounds, key=lambda pair: pair[0])[:count]]

    def index(self) -> Index:
        """Make the rows searchable."""
        return Index([row.ask for row in self._rows])


class Index:
    """Texts that are found by their words."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._size = len(texts)
        self._scorer: Any = None
        vocabulary: dict[str, int] = {}  # numbers: as many words as text would take ten times the memory
        numbers = [[vocabulary.setdefault(word, len(vocabulary)) for word in words(text)] for text in texts]
        if vocabulary:
            import bm25s
            from bm25s.tokenization import Tokenized

            self._scorer = bm25s.BM25(method="lucene")
            self._scorer.index(Tokenized(ids=numbers, vocab=vocabulary), show_progress=False)

    def nearest(self, text: str, count: int, *, without: npt.NDArray[np.bool_]) -> list[int]:
        """The texts with the most in common, the nearest first; of equals the first."""
        asked = words(text[:_CHARACTERS])
        scores = np.zeros(self._size)
        if asked and self._scorer is not None:
            scores = np.asarray(self._scorer.get_scores(asked), dtype=np.float64)
        order = np.argsort(-scores, kind="stable")
        return order[~without[order]][:count].tolist()


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.casefold())


def _digests(values: Iterable[int]) -> Digests:
    return np.fromiter(values, dtype=np.uint64)
