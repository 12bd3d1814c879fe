"""Links of pages lead somewhere on a Git host: to files that are there, and to headings in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.docs import commonmark, outside
from dev.docs.navigation import Items, navigation
from dev.paths import REPOSITORY
from tests.support.pages import PAGES, name

DOCS = REPOSITORY / "docs"
INDEX = DOCS / "README.md"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_a_page_lead_to_files_and_to_headings(page: Path) -> None:
    lost = []
    for target in commonmark.links(page.read_text()):
        parts = urlsplit(target)
        file = page.parent / parts.path if parts.path else page
        if parts.scheme or parts.netloc:
            continue
        there = file.exists() and file.resolve().is_relative_to(REPOSITORY)
        if not there or (parts.fragment and parts.fragment not in commonmark.anchors(file.read_text())):
            lost.append(target)
    assert lost == []


def test_every_page_is_once_in_the_navigation() -> None:
    """That is: it has a row in the index, or lies in a folder whose README has one."""
    pages = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    listed = [
        path for path in _paths(navigation(INDEX.read_text(), pages)) if not path.startswith(outside.PLACE)
    ]
    assert sorted(listed) == pages


def _paths(items: Items) -> Iterator[str]:
    for item in items:
        if isinstance(item, str):
            yield item
        else:
            [within] = item.values()
            yield from _paths([within] if isinstance(within, str) else within)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_no_two_headings_of_a_page_have_one_anchor(page: Path) -> None:
    """Git hosts and the site would number them in different ways."""
    anchors = [
        commonmark.slug(entry.text)
        for entry in commonmark.index(page.read_text())
        if isinstance(entry, commonmark.Heading)
    ]
    assert sorted(anchors) == sorted(set(anchors))
