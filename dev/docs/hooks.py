"""What MkDocs calls while it builds the site: mkdocs.yml names this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from dev.docs import navigation, outside

_OUTSIDE = outside.Outside()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add what looks at links."""
    extensions: list[Any] = config.markdown_extensions
    extensions.append(_OUTSIDE)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages for files outside docs/, and make the navigation."""
    pages = [file.src_uri for file in files.documentation_pages()]
    repository = Path(config.docs_dir).parent
    config.nav = navigation.navigation((Path(config.docs_dir) / navigation.HOME).read_text(), pages)
    for path, text in outside.pages(repository, pages):
        files.append(File.generated(config, path, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remember which page is rendered next; a search finds those for users first."""
    _OUTSIDE.links.page = page.file.src_uri
    if page.file.src_uri.startswith(("adr/", f"{outside.PLACE}/")):
        page.meta["search"] = {"boost": 0.2}
    return markdown
