"""The documentation as a site: built without a fault, from this checkout alone, as a Git host shows it."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typing_extensions import override

from dev.docs import commonmark, outside
from dev.docs.build import build
from dev.docs.navigation import navigation
from dev.errors import DevError
from dev.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
IDS = re.compile(r'\bid="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, which MkDocs builds only without a warning."""
    out = tmp_path_factory.mktemp("site")
    build(out)
    return out


def page_of(site: Path, page: Path) -> Path:
    """Where the site has a page."""
    path = site / outside.site_path(str(page.relative_to(REPOSITORY)))
    return path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html")


class _Read(HTMLParser):
    """What a page has the browser load, where it leads, and the words of its article with their blocks."""

    BLOCKS = ("h1", "h2", "h3", "h4", "p", "li", "ul", "ol", "pre", "td", "th", "table", "blockquote")

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.shown: list[str] = []
        self._words = ""
        self._inside = False
        self._permalink = False

    @override
    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = self._inside or tag == "article"
        self._permalink = tag == "a" and given.get("class") == "headerlink"
        if tag == "a":
            self.leads.append(given.get("href", ""))
        else:
            self.loads += [
                given[name] for name in ("src", "href", "srcset", "data", "poster") if name in given
            ]
        if self._inside and tag in self.BLOCKS:
            self._say()
            self.shown.append(f"<{tag}>")

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in (*self.BLOCKS, "article"):
            self._say()
        self._inside = self._inside and tag != "article"
        self._permalink = False

    @override
    def handle_data(self, data: str) -> None:
        if self._inside and not self._permalink:
            self._words += data

    def _say(self) -> None:
        self.shown += self._words.split()
        self._words = ""


@cache  # several tests look at the same page
def read(text: str) -> _Read:
    found = _Read()
    found.feed(text)
    found.close()
    return found


@pytest.mark.slow
def test_every_page_is_on_the_site_and_every_file_that_one_leads_to(site: Path) -> None:
    assert [str(page) for page in PAGES if not page_of(site, page).is_file()] == []
    assert (site / "repository" / "SECURITY.html").is_file()
    manifest = (REPOSITORY / "examples" / "evaluate.yaml").read_text()
    page = (site / "repository" / "examples" / "evaluate.yaml.source.html").read_text()
    shown = read(page).shown
    assert " ".join(shown).endswith(" ".join(["<pre>", *manifest.split()]))
    assert '<span class="nt">kind</span>' in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_shows_what_a_git_host_shows(site: Path, page: Path) -> None:
    there = read(f"<article>{commonmark.parser().render(page.read_text())}</article>").shown
    assert read(page_of(site, page).read_text()).shown == there


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    loaded = {target for page in pages for target in read(page.read_text()).loads}
    assert {target for target in loaded if re.match(r"(\w+:)?//", target)} == set()
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:\w+:)?//[^)]*\)|@import[^;]*", styles) == []
    # What the theme's script would fetch for: drawings by mermaid, and the stars of a repository.
    assert not any('class="mermaid"' in page.read_text() for page in pages)
    assert not any('data-md-component="source"' in page.read_text() for page in pages)


def test_what_pages_lead_to_is_there(site: Path) -> None:
    """Of pages as they are built, menus included: MkDocs looks at the text of pages alone."""
    pages = {page: page.read_text() for page in site.rglob("*.html") if page.name != "404.html"}
    ids = {page: {html.unescape(name) for name in IDS.findall(text)} for page, text in pages.items()}
    lost = []
    for page, text in pages.items():
        for target in read(text).leads:
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if re.match(r"\w+:", target) or target == "":
                continue
            if not there.is_file() or (anchor and there in ids and anchor not in ids[there]):
                lost.append(f"{page.relative_to(site)}: {target}")
    assert lost == []


def test_the_search_finds_a_word_of_a_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"] for entry in index["docs"] if "gangTimeoutSeconds" in entry["text"]}
    assert any(location.startswith("concepts/how-a-job-runs.html") for location in found)


@pytest.mark.slow
def test_a_broken_link_a_broken_anchor_and_a_page_without_a_row_fail(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    (tmp_path / "dev").symlink_to(REPOSITORY / "dev")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text(
        "# Documentation\n\n| page | |\n|---|---|\n| [A](a.md) | |\n"
    )
    (tmp_path / "docs" / "a.md").write_text("# A\n\n[one](b.md#nothing) [two](c.md) [three](../LICENCE)\n")
    (tmp_path / "docs" / "b.md").write_text("# B\n")
    with pytest.raises(DevError) as raised:
        build(tmp_path / "site", repository=tmp_path)
    warnings = [line for line in str(raised.value).splitlines() if line.startswith(("WARNING", "  - "))]
    link = "WARNING -  Doc file 'a.md' contains a link"
    assert warnings == [
        "WARNING -  The following pages exist in the docs directory, but are not included in the "
        '"nav" configuration:',
        "  - b.md",
        f"{link} 'c.md', but the target is not found among documentation files.",
        f"{link} 'repository/LICENCE/index.md', but the target is not found among documentation files.",
        f"{link} 'b.md#nothing', but the doc 'b.md' does not contain an anchor '#nothing'.",
    ]


def test_rows_are_in_navigation_under_their_headings_and_folders_bring_their_pages() -> None:
    text = """# Documentation

| page | what it answers |
|---|---|
| [First steps](first-steps.md) | |

## How-to

### Install

| page | what it answers |
|---|---|
| [On GPUs](how-to/gpus.md) | [no page](x.md) |
| [On no GPU](how-to/cpu.md) | |

### Guard

| page | what it answers |
|---|---|
| [Security](../SECURITY.md#reporting) | |

## Nothing yet

## Decisions

| page | what it answers |
|---|---|
| [Why](adr/README.md) | |

## Reference

| page | what it answers |
|---|---|
| [Decisions](adr/README.md) | |
| [The second](adr/0002.md) | |
"""
    pages = ["README.md", "adr/0003.md", "adr/0001.md", "adr/0002.md", "adr/README.md", "how-to/gpus.md"]
    assert navigation(text, pages) == [
        {"Overview": "README.md"},
        {"First steps": "first-steps.md"},
        {
            "How-to": [
                {"Install": [{"On GPUs": "how-to/gpus.md"}, {"On no GPU": "how-to/cpu.md"}]},
                {"Guard": "repository/SECURITY.md"},
            ]
        },
        {"Decisions": ["adr/README.md", "adr/0001.md", "adr/0003.md"]},
        {
            "Reference": [
                {"Decisions": ["adr/README.md", "adr/0001.md", "adr/0003.md"]},
                {"The second": "adr/0002.md"},
            ]
        },
    ]


@pytest.mark.parametrize(
    ("target", "page", "there"),
    [
        ("../../examples/minimal.yaml", "how-to/a.md", "../repository/examples/minimal.yaml.source.md"),
        ("../../SECURITY.md#reporting", "how-to/a.md", "../repository/SECURITY.md#reporting"),
        ("../../examples/", "how-to/a.md", "../repository/examples/index.md"),
        ("docs/how-to/a.md#b", "repository/SECURITY.md", "../how-to/a.md#b"),
        ("../../docs/how-to/a.md", "repository/charts/kubetune/README.md", "../../../how-to/a.md"),
        ("examples/nvidia.yaml", "repository/charts/kubetune/README.md", "examples/nvidia.yaml.source.md"),
        ("../argocd/health.lua", "how-to/a.md", None),
        ("https://example.com/a.md", "how-to/a.md", None),
        ("#b", "repository/SECURITY.md", None),
    ],
)
def test_a_link_leads_to_the_page_that_shows_the_file(target: str, page: str, there: str | None) -> None:
    assert outside.moved(target, page) == there
