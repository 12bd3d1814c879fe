"""Has the Debian packages installed that the cluster and the image builds use."""

from collections.abc import Sequence

from dev import progress
from dev.cluster import debian, installing
from dev.cluster.debian import PACKAGES


def ensure_packages(wanted: Sequence[str] = PACKAGES) -> None:
    """Install what is missing."""
    missing = debian.missing(wanted)
    if missing:
        with progress.step(f"Install the Debian packages {', '.join(missing)}"):
            installing.install(missing, say=progress.note)
