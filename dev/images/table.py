"""Shows a person what the images are."""

from __future__ import annotations

from rich.table import Table

from dev.images import buildah
from dev.images.build import ImageRefs
from dev.progress import console


def show(refs: ImageRefs) -> None:
    """Print a line for each image."""
    table = Table("image", "uncompressed", "reference", box=None, header_style="bold")
    for reference in (refs.operator, refs.trainer, refs.serving_cpu):
        name = reference.partition("/")[2]
        local = f"localhost/{name}"
        size = buildah.size(local) if buildah.exists(local) else "in the registry only"
        table.add_row(name.partition(":")[0], size, reference)
    console.print(table)
