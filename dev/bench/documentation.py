"""How long the documentation's site takes to build."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from dev.bench.figures import Figure
from dev.docs.build import build
from dev.progress import step

PART: Final = "docs"
BAR: Final = 60.0


def measure() -> list[Figure]:
    """Build the site once, from nothing."""
    with step("The documentation's site"), tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        build(Path(folder))
        seconds = time.monotonic() - began
        pages = sum(1 for _ in Path(folder).rglob("*.html"))
    return [
        Figure(
            part=PART,
            name="the documentation's site",
            value=seconds,
            unit="s",
            bar=BAR,
            note=f"{pages} pages",
        )
    ]
