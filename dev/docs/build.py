"""Builds the documentation's site, and refuses what readers would stumble over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dev import paths
from dev.errors import DevError

SITE = paths.REPOSITORY / "build" / "site"
"""Where it goes unless told otherwise: git ignores it."""


def build(out: Path = SITE, *, repository: Path = paths.REPOSITORY) -> str:
    """Make the folder anew from a repository's mkdocs.yml and docs/, and return what MkDocs says.

    Raises DevError with its words for a broken link or anchor, and for a page that no table lists.
    """
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--site-dir", str(out)]
    # The theme tells of its own future whenever a site is built.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=repository, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise DevError(f"The site has faults:\n{done.stderr.strip()}")
    return done.stderr
