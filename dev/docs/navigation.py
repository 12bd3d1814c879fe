"""Navigation of the site: what the tables of docs/README.md list, under the headings above them.

A row that leads to the README of a folder is a section of all of the folder's pages: decisions and runbooks
come in by themselves. Any other page without a row is in no section, and MkDocs refuses to build the site.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from typing import Any

from dev.docs.commonmark import Heading, index
from dev.docs.outside import moved

HOME = "README.md"

Items = list[Any]
"""As MkDocs' `nav`: a path, `{title: path}`, or `{title: Items}`."""


def navigation(text: str, pages: Collection[str]) -> Items:
    """Return the navigation that an index page asks for.

    `pages` are the paths of all pages below docs/.
    """
    nav: Items = [{"Overview": HOME}]
    open_sections: list[tuple[int, Items]] = [(1, nav)]
    rows = [entry for entry in index(text) if not isinstance(entry, Heading)]
    named = {_path(row.target) for row in rows}
    for entry in index(text):
        if isinstance(entry, Heading):
            if entry.level == 1:
                continue
            while open_sections[-1][0] >= entry.level:
                open_sections.pop()
            items: Items = []
            open_sections[-1][1].append({entry.text: items})
            open_sections.append((entry.level, items))
        else:
            open_sections[-1][1].append(_item(entry.text, _path(entry.target), named, pages))
    return _shortened(nav)


def _path(target: str) -> str:
    path = target.partition("#")[0]
    return posixpath.normpath(moved(path, HOME) or path)


def _item(title: str, path: str, named: Collection[str], pages: Collection[str]) -> dict[str, Any]:
    folder, _, name = path.rpartition("/")
    if name != HOME or path not in pages:
        return {title: path}
    others = sorted(page for page in pages if page.startswith(f"{folder}/") and page not in named)
    return {title: [path, *others]}


def _shortened(items: Items) -> Items:
    """Leave out headings without rows; a heading with one row is that row, under the heading's name."""
    found: Items = []
    for item in items:
        if not isinstance(item, dict):
            found.append(item)
            continue
        [(title, within)] = item.items()
        if isinstance(within, list):
            within = _shortened(within)
            if len(within) == 1 and isinstance(within[0], dict):
                [within] = within[0].values()
        if within:
            found.append({title: within})
    return found
