"""Writes the values file that installs what was pushed."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from dev import paths
from dev.image_values import PLACES, Pushed, image_values, place
from dev.images import buildah

PATH = paths.REPOSITORY / "build" / "values.yaml"
"""Beside what is built, and not in `dist/`, which a release makes anew."""

_HEAD = """\
# yaml-language-server: $schema={schema}
# The images that `make images` has pushed. In the checkout:
#
#   {command}
#
# Values of your own go after it: -f yours.yaml
"""
_LEFT_OUT = (
    "# Not asked for, and not here: {names}. The chart's defaults name images that nobody has pushed.\n"
)
_LOCAL = """\
# {registry} is on this machine: only its local cluster pulls from it. For another one:
# make images KUBETUNE_REGISTRY=registry.example.com/ml
"""
_SCHEMA = paths.REPOSITORY / "charts" / "kubetune" / "files" / "values.closed.schema.json"


def command(path: Path = PATH) -> str:
    """Return what installs the chart with the file, in the checkout."""
    file = path.relative_to(paths.REPOSITORY) if path.is_relative_to(paths.REPOSITORY) else path
    return f"helm upgrade --install kubetune charts/kubetune -n kubetune-system --create-namespace -f {file}"


def pushed_values(references: Mapping[str, str]) -> dict[str, Any]:
    """Return the chart's values for references in one registry, by the images' names.

    A tag follows from what is in the image, so that a node that has it need not ask again.
    """
    found = {name: Pushed.parse(reference) for name, reference in references.items()}
    [registry] = {image.registry for image in found.values()}
    images = {name: {"repository": image.repository, "tag": image.tag} for name, image in found.items()}
    values = {"imageRegistry": registry, **image_values(images)}
    place(values, "settings.imagePullPolicy", "IfNotPresent")
    return values


def write(references: Mapping[str, str], *, only: Collection[str] = (), path: Path = PATH) -> Path:
    """Write the values of the images, or of those that were asked for, and return the file."""
    chosen = {name: reference for name, reference in references.items() if not only or name in only}
    values = pushed_values(chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _HEAD.format(schema=os.path.relpath(_SCHEMA, path.parent), command=command(path))
    if left_out := PLACES.keys() - chosen.keys():
        text += _LEFT_OUT.format(names=", ".join(sorted(left_out)))
    if buildah.is_local(values["imageRegistry"]):
        text += _LOCAL.format(registry=values["imageRegistry"])
    path.write_text(text + yaml.safe_dump(values, sort_keys=False))
    return path
