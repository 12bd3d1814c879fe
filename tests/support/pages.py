"""The pages that people read, and the blocks of code in them.

What a block is, the word behind its fence says: `yaml`, `json`, `python`, `promql`; `bash`, or no word, for
commands that readers type; `console` for commands after `$ ` with what they print; `text` for what is only
looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dev.chart import CHART
from dev.docs import commonmark
from dev.paths import REPOSITORY

PAGES = sorted(
    [
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "examples").rglob("*.md"),
        *REPOSITORY.glob("*.md"),
        CHART / "README.md",
    ]
)

PRESENT = [page for page in PAGES if page.parent.name != "adr" and page.name != "CHANGELOG.md"]
"""Pages about what is: decisions and the list of changes tell of what was, too."""

MANIFESTS = sorted([*(REPOSITORY / "examples").rglob("*.yaml"), *(REPOSITORY / "docs").rglob("*.yaml")])
"""What people copy and apply."""

COMMANDS = ("", "bash", "sh")
LANGUAGES = {*COMMANDS, "yaml", "json", "python", "promql", "console", "text"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A block and the page that it is in."""

    page: str
    """Path of the page in the repository."""
    block: commonmark.Block

    def __str__(self) -> str:
        """Where it is, for people and as the name of a test."""
        return f"{self.page}:{self.block.line}"


def name(page: Path) -> str:
    """Return the path of a page in the repository."""
    return str(page.relative_to(REPOSITORY))


def shown(*languages: str) -> list[Shown]:
    """Return the blocks of all pages in these languages."""
    return [
        Shown(name(page), block)
        for page in PAGES
        for block in commonmark.blocks(page.read_text())
        if block.language in languages
    ]


def prompted(text: str) -> str:
    """Return the commands of a console's block, with the lines that continue them."""
    commands: list[str] = []
    continued = False
    for line in text.splitlines():
        if line.startswith("$ ") or continued:
            commands.append(line.removeprefix("$ "))
            continued = line.endswith("\\")
    return "\n".join(commands) + "\n"
