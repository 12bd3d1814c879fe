"""Files outside docs/ that pages lead to, as pages of the site: manifests, SECURITY.md, the chart's README.

On a Git host such links lead to the files themselves. On the site they lead to pages below `repository/` with
the same text; a link between two of them, or back into docs/, leads where it does on the Git host.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from xml.etree import ElementTree

import markdown  # type: ignore[import-untyped]
from markdown.treeprocessors import Treeprocessor  # type: ignore[import-untyped]

from dev.docs import commonmark

PLACE = "repository"
"""The folder of the site, which docs/ must not have."""


def repository_path(source: str) -> str:
    """Return where in the repository a page of the site comes from, by its path below docs/."""
    if not source.startswith(f"{PLACE}/"):
        return f"docs/{source}"
    path = source.removeprefix(f"{PLACE}/")
    return path.removesuffix(".source.md").removesuffix("/index.md")


def site_path(path: str) -> str:
    """Return the page, or the file, of the site that shows a path of the repository."""
    if path == "docs" or path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".md"):
        return f"{PLACE}/{path}"
    return f"{PLACE}/{path}.source.md" if PurePosixPath(path).suffix else f"{PLACE}/{path}/index.md"


def moved(target: str, page: str) -> str | None:
    """Return what a link of a page has to be on the site; None when it can stay.

    `page` is the path of the page below docs/, as is what is returned relative to it.
    """
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    path = _joined(repository_path(page), parts.path)
    if path.startswith("docs/") and not page.startswith(f"{PLACE}/"):
        return None
    there = posixpath.relpath(site_path(path), posixpath.dirname(page) or ".")
    return parts._replace(path=there).geturl()


def pages(repository: Path, sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what pages of docs/ and those that are yielded lead to outside: path on the site, and Markdown.

    What is not there is left out: MkDocs then says which page has the broken link.
    """
    waiting = [f"docs/{source}" for source in sources]
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        text = (repository / page).read_text()
        for target in commonmark.links(text):
            parts = urlsplit(target)
            path = _joined(page, parts.path)
            if (
                parts.scheme
                or parts.netloc
                or not parts.path
                or path in seen
                or path.startswith(("docs/", ".."))
            ):
                continue
            if (shown := _shown(repository, path)) is not None:
                seen.add(path)
                yield site_path(path), shown
                if path.endswith(".md"):
                    waiting.append(path)


def _joined(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def _shown(repository: Path, path: str) -> str | None:
    """Return a file or a folder as Markdown; None when it is not there."""
    file = repository / path
    if file.is_dir():
        names = sorted(
            item.name + "/" * item.is_dir() for item in file.iterdir() if not item.name.startswith(".")
        )
        return f"# `{path}/`\n\n" + "".join(f"- `{name}`\n" for name in names)
    if not file.is_file():
        return None
    if file.suffix == ".md":
        return file.read_text()
    return f"# `{path}`\n\n~~~~~~ {file.suffix[1:]}\n{file.read_text()}~~~~~~\n"


class Links(Treeprocessor):  # type: ignore[misc] # no types
    """Leads links of the page that is rendered to where the site has what they lead to."""

    page = ""
    """Path of that page below docs/."""

    def run(self, root: ElementTree.Element) -> None:
        """Change the tree of the page."""
        for element in root.iter():
            for name in ("href", "src"):
                if (target := element.get(name)) and (there := moved(target, self.page)) is not None:
                    element.set(name, there)


class Outside(markdown.Extension):  # type: ignore[misc] # no types
    """Puts `links` before MkDocs' own look at links."""

    def __init__(self) -> None:
        super().__init__()
        self.links = Links()

    def extendMarkdown(self, md: markdown.Markdown) -> None:  # noqa: N802 (its name)
        """Register it: MkDocs resolves links at priority 0."""
        md.treeprocessors.register(self.links, "kubetune_outside", 1.5)
