"""Shows a person what the images are."""

from __future__ import annotations

from dev.images import buildah
from dev.images.build import ImageRefs
from dev.progress import note


def show(refs: ImageRefs) -> None:
    """Print a line for each image: its uncompressed size and its reference."""
    for reference in refs.by_name.values():
        local = f"localhost/{reference.partition('/')[2]}"
        size = buildah.size(local) if buildah.exists(local) else "-"  # another machine built and pushed it
        note(f"{size:>8}  {reference}")
