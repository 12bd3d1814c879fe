"""What Markdown says to programs: blocks, links, headings and tables, read as Git hosts read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token


def parser() -> MarkdownIt:
    """Return what reads CommonMark with tables, as Git hosts do."""
    return MarkdownIt("commonmark", {"xhtmlOut": True}).enable(["table", "strikethrough"])


@cache  # checks of all kinds look at the same pages
def _tokens(text: str) -> list[Token]:
    return parser().parse(text)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced or indented block of code: the words behind its fence, its text, the line it begins in."""

    info: str
    text: str
    line: int

    @property
    def language(self) -> str:
        """The first word behind the fence; empty without one."""
        return self.info.partition(" ")[0]


def blocks(text: str) -> list[Block]:
    """Return the blocks of code of a page in their order, those within lists included."""
    return [
        Block(token.info.strip(), token.content, (token.map or [0])[0] + 1)
        for token in _tokens(text)
        if token.type in ("fence", "code_block")
    ]


def links(text: str) -> list[str]:
    """Return what a page's links and pictures lead to, as it is written."""
    targets = [token.attrGet("href") or token.attrGet("src") for token in _inline(_tokens(text))]
    return [str(target) for target in targets if target is not None]


def code(text: str) -> list[str]:
    """Return what stands between backticks in a page, line ends as spaces."""
    return [token.content for token in _inline(_tokens(text)) if token.type == "code_inline"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading with its level, 1 to 6, and its text as a reader sees it."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table whose first cell is a link: where that leads, and what it says."""

    target: str
    text: str


def index(text: str) -> Iterator[Heading | Row]:
    """Yield the headings of a page, and the rows of its tables that begin with a link, in their order."""
    tokens = _tokens(text)
    for place, token in enumerate(tokens):
        children = token.children or []
        opened = [before.type for before in tokens[max(place - 2, 0) : place]]
        if opened[-1:] == ["heading_open"]:
            yield Heading(int(tokens[place - 1].tag[1:]), _said(children))
        elif opened == ["tr_open", "td_open"] and children and children[0].type == "link_open":
            yield Row(str(children[0].attrGet("href")), _said(children))


def slug(heading: str, _separator: str = "-") -> str:
    """Return the anchor that Git hosts give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text: str) -> list[str]:
    """Return the anchors of a page's headings; one that stands there already gets a number."""
    found: list[str] = []
    seen: dict[str, int] = {}
    for heading in index(text):
        if isinstance(heading, Heading):
            plain = slug(heading.text)
            number = seen.get(plain, 0)
            seen[plain] = number + 1
            found.append(f"{plain}-{number}" if number else plain)
    return found


def _inline(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _inline(token.children or [])


def _said(children: Sequence[Token]) -> str:
    return "".join(token.content for token in children if token.type in ("text", "code_inline"))
