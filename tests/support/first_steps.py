"""Reads a page of which the commands are run: what is to be typed, and what the page says that one sees."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "first-steps.md"

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<not_run>[^>]+) -->\n)?"
    r"```bash\n(?P<text>.*?)```\n"
    r"(?:\n```text\n(?P<output>.*?)```\n)?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """A block of ```` ```bash ````, and the block of ```` ```text ```` that follows at once."""

    section: str
    """The heading above it."""

    text: str
    output: str | None
    """What it prints, with `...` for what differs from time to time; None where the page does not say."""

    not_run: str | None
    """Why no test runs it, from the comment above it; None where one does."""

    def shows(self, printed: str) -> bool:
        """Tell whether what a command printed is what the page says."""
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        return self.output is None or doctest.OutputChecker().check_output(self.output, printed, flags)


def commands(page: Path = PAGE) -> Iterator[Commands]:
    """Yield all blocks of commands of a page, in its order."""
    for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        for found in _BLOCK.finditer(section):
            yield Commands(section=heading, **found.groupdict())
