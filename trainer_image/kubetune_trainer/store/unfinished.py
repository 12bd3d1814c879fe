"""Names of directories that are being written: hidden beside the final name, until one rename.

Each has a name of its own, so that a writer that has lost the directory and does not know it yet never
shares a file with the one that has it now.
"""

from __future__ import annotations

import os
from pathlib import Path


def beside(final: Path) -> Path:
    """A name that nothing else has."""
    return final.with_name(f".{final.name}-{os.urandom(4).hex()}")


def final(written: Path) -> Path:
    """Where it will be once it is published."""
    return written.with_name(written.name[1:].rpartition("-")[0])


def left(final: Path) -> list[Path]:
    """What attempts left that were cut off."""
    return list(final.parent.glob(f".{final.name}*"))
