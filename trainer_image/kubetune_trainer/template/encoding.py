"""Encodes texts, and finds whether a place in one is a place between tokens for the server too.

A tokenizer splits a text at its added tokens before anything else, and encodes each piece by itself. So what
comes before an added token has the same tokens whatever follows it, and texts
that begin alike are encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

_REMEMBERED: Final = 256
"""Characters of a text whose tokens are remembered: the prompts of a template end alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The tokens of a text, or of its beginning."""

    text: str
    """What was encoded."""
    ids: Tokens
    starts: Tokens
    """First character of each token."""
    ends: Tokens
    """Character after each token."""

    def token_at(self, character: int) -> int | None:
        """The token that begins at a character or behind it; None if one goes on over it."""
        place = int(np.searchsorted(self.starts, character))
        return None if place and self.ends[:place].max() > character else place


class Encoder:
    """Encodes with a fast tokenizer, without the tokens that it adds to plain text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = tokenizer.split_special_tokens
        added = tokenizer.added_tokens_decoder
        self._longest = max((len(token.content) for token in added.values()), default=0)
        self._is_added = np.zeros(max(len(tokenizer), *added, 0) + 1, dtype=np.bool_)
        self._is_added[list(added)] = True
        self._remembered = lru_cache(maxsize=4096)(self._ids)

    def encode(self, texts: Sequence[str], *, special: bool = False) -> list[Encoded]:
        """Encode texts together; ``special`` adds the tokens that the tokenizer puts around plain text."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=special)
        return [_encoded(text, encoding) for text, encoding in zip(texts, found, strict=True)]

    def like(self, known: Encoded, text: str) -> Encoded:
        """Encode a text that begins as one whose tokens are known."""
        if text == known.text:
            return known
        common = _common(known.text, text)
        # The last added token that ends so early that no longer one can begin at its place.
        places = np.flatnonzero(self._is_added[known.ids] & (known.starts + self._longest <= common))
        if not len(places):
            return self._encode(text)
        place = int(places[-1])
        start = int(known.starts[place])
        rest = self._encode(text[start:])
        return Encoded(
            text=text,
            ids=np.concatenate((known.ids[:place], rest.ids)),
            starts=np.concatenate((known.starts[:place], rest.starts + start)),
            ends=np.concatenate((known.ends[:place], rest.ends + start)),
        )

    def boundary(self, encoded: Encoded, character: int) -> int | None:
        """The token that begins at a character; None if the text before it, alone, has other tokens."""
        place = encoded.token_at(character)
        if place is None:
            return None
        added = np.flatnonzero(self._is_added[encoded.ids[:place]])
        first = int(added[-1]) if len(added) else 0
        begin = int(encoded.starts[first]) if len(added) else 0
        tail = encoded.text[begin:character]
        ids = self._remembered(tail) if len(tail) <= _REMEMBERED else self._ids(tail)
        return place if ids == tuple(encoded.ids[first:place].tolist()) else None

    def apart(self, before: str, after: str) -> tuple[Tokens, Tokens]:
        """Tokens of a text, and of what a model writes after it, where the two together have others."""
        line_end, begun = self._ids("\n"), self._ids("\n" + after)
        # After a line end a tokenizer that puts a space in front of a text puts none there.
        ids = begun[len(line_end) :] if begun[: len(line_end)] == line_end else self._ids(after)
        return np.asarray(self._ids(before), dtype=np.int32), np.asarray(ids, dtype=np.int32)

    def _encode(self, text: str) -> Encoded:
        return _encoded(text, self._tokenizer.encode(text, add_special_tokens=False))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _encoded(text: str, encoding: Any) -> Encoded:
    places = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    return Encoded(
        text=text,
        ids=np.asarray(encoding.ids, dtype=np.int32),
        starts=places[:, 0].copy(),
        ends=places[:, 1].copy(),
    )


def _common(one: str, other: str) -> int:
    """Length of the common prefix."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # slices are compared in C: a loop over characters would take most of the time
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
