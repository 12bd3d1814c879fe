"""Texts as they are compared: without what does not count, and word by word. Pure."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Collection
from functools import cache
from typing import Final

from ..contract.evaluation import Ignored
from ..data.punctuation import punctuation

ALL: Final[tuple[Ignored, ...]] = ("Case", "Punctuation", "Articles", "Whitespace")
"""What SQuAD's script does not count."""

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.IGNORECASE)

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Kana, Chinese characters, Thai, Lao, Burmese and Khmer: scripts without spaces between words."""

_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_CHARACTER = re.compile(rf"([{_UNSPACED}])")


def normalised(text: str, ignore: Collection[Ignored]) -> str:
    """A text without what does not count, in the order of SQuAD's script.

    All four together are its ``normalize_answer`` (Rajpurkar et al. 2016, evaluate-v1.1.py), with punctuation
    and case of all of Unicode. Articles are those of English; each becomes a space, so that it takes
    ``Whitespace`` to ignore them well.
    """
    text = unicodedata.normalize("NFC", text)
    if "Case" in ignore:
        text = text.casefold()
    if "Punctuation" in ignore:
        text = _punctuation().sub("", text)
    if "Articles" in ignore:
        text = _ARTICLES.sub(" ", text)
    return " ".join(text.split()) if "Whitespace" in ignore else text


def words(text: str) -> list[str]:
    """Words and numbers in lower case, without punctuation.

    Of ASCII text the same as rouge-score's tokenizer without a stemmer has; that one knows no other letters.
    In scripts that have no spaces between words each character counts as one.
    """
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def spaced(text: str) -> list[str]:
    """What stands between spaces; in scripts that have none, each character."""
    return _CHARACTER.sub(r" \1 ", text).split()


def stands_in(part: str, text: str) -> bool:
    """Whether ``part`` is found in ``text`` as whole words: 4 is not in 14, nor "no" in "know"."""
    start = rf"(?<![^\W_{_UNSPACED}])" if _alone(part[:1]) else ""
    end = rf"(?![^\W_{_UNSPACED}])" if _alone(part[-1:]) else ""
    return re.search(start + re.escape(part) + end, text) is not None


def _alone(character: str) -> bool:
    return re.fullmatch(rf"[^\W_{_UNSPACED}]", character) is not None


@cache
def _punctuation() -> re.Pattern[str]:
    return re.compile(f"[{re.escape(punctuation() + string.punctuation)}]")
