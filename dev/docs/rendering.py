"""Has MkDocs render Markdown as Git hosts do.

MkDocs renders by Python-Markdown, which reads fences in lists and escaped pipes in another way than Git
hosts. This extension puts markdown-it in the place of its parser, so that a page looks the same in both
places; the passes over the tree, such as MkDocs' look at links, stay Python-Markdown's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import markdown  # type: ignore[import-untyped]
import pygments  # type: ignore[import-untyped]
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
from pygments.util import ClassNotFound  # type: ignore[import-untyped]

from dev.docs import commonmark

_BREAK = re.compile(r"(?<=\w[./_:])(?=\w)")
_STASHED = re.compile("\ue000(\\d+)\ue001")


class CommonMark(markdown.Extension):  # type: ignore[misc] # no types
    """Has Python-Markdown render CommonMark with tables."""

    def extendMarkdown(self, md: markdown.Markdown) -> None:  # noqa: N802 (its name)
        """Take the place of the parser, and of what comes before and after it for the sake of that parser."""
        md.preprocessors.deregister("html_block")
        md.preprocessors.deregister("fenced_code_block", strict=False)  # MkDocs adds it to every site
        md.treeprocessors.deregister("inline")
        md.parser = _Parser(md)


class _Parser:
    """Has the one method of Python-Markdown's parser that is called from outside."""

    def __init__(self, md: markdown.Markdown) -> None:
        self._md = md
        self._renderer = commonmark.parser()
        rules: dict[str, Any] = self._renderer.renderer.rules  # type: ignore[attr-defined]
        rules |= dict.fromkeys(("fence", "code_block"), self._code)
        rules |= dict.fromkeys(("html_block", "html_inline"), self._html)
        rules["code_inline"] = _code_of_a_sentence

    def parseDocument(self, lines: Sequence[str]) -> ElementTree.ElementTree:  # noqa: N802 (its name)
        """Return the tree of a page; HTML in it is stashed, and is no part of the tree."""
        html = self._renderer.render("\n".join(lines))
        root = ElementTree.fromstring(f"<{self._md.doc_tag}>{html}</{self._md.doc_tag}>")
        for element in root.iter():
            element.text = self._placed(element.text)
            element.tail = self._placed(element.tail)
        return ElementTree.ElementTree(root)

    def _code(self, tokens: Sequence[Token], place: int, *_: object) -> str:
        token = tokens[place]
        language = token.info.strip().partition(" ")[0]
        return self._stash(highlighted(token.content, language))

    def _html(self, tokens: Sequence[Token], place: int, *_: object) -> str:
        return self._stash(tokens[place].content)

    def _stash(self, html: str) -> str:
        self._md.htmlStash.store(html)
        return f"\ue000{len(self._md.htmlStash.rawHtmlBlocks) - 1}\ue001"

    def _placed(self, text: str | None) -> str | None:
        """Put Python-Markdown's own placeholders, which XML cannot hold, in the place of ours."""
        place = self._md.htmlStash.get_placeholder
        return _STASHED.sub(lambda found: place(int(found[1])), text) if text else text


def _code_of_a_sentence(tokens: Sequence[Token], place: int, *_: object) -> str:
    """Let paths break behind their dots and slashes, and nowhere else: columns of tables are narrow."""
    return f"<code>{_BREAK.sub('<wbr/>', escapeHtml(tokens[place].content))}</code>"


def highlighted(text: str, language: str) -> str:
    """Return a block of code as HTML of the theme; plain where the language has no name that is known."""
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    inner = pygments.highlight(text, lexer, HtmlFormatter(nowrap=True))
    return f'<div class="highlight"><pre><code>{inner}</code></pre></div>\n'


def makeExtension(**_: object) -> CommonMark:  # noqa: N802 (its name)
    """Return the extension, as Python-Markdown looks for it by this name."""
    return CommonMark()
