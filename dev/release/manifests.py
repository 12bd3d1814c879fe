"""Writes what a release is installed from: the chart's package, values with digests, and install.yaml."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import helm_python
import yaml

from dev.chart import CHART, documents
from dev.deploy import NAMESPACE, RELEASE
from dev.image_values import image_values, place
from dev.release.published import Published
from dev.release.sbom import Outside

_SERVING = "settings.servingImage"
_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount")
"""Kinds that others need, in their order; what is left keeps the chart's order."""

_HEAD = """\
# The images of this release, by digest. Give it to helm before values of your own:
#
#   helm upgrade --install kubetune kubetune-{version}.tgz --values values.yaml --values yours.yaml ...
#
# In another registry the digests stay the same as long as the images are copied and not pushed anew; put its
# name and path into imageRegistry. A digest wins over its tag, which is for people.
"""
_UNPINNED = """\
# {repository}:{tag} has no digest here: no registry could be asked for it when this was written.
# Pin what you tested, where a registry answers: skopeo inspect --format '{{{{.Digest}}}}' docker://{repository}:{tag}
"""


def default_serving_image() -> Mapping[str, str]:
    """Return repository and tag of the server for GPUs, which the chart names and we do not build."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    found: Mapping[str, str] = values["settings"]["servingImage"]
    return found


def values(images: Sequence[Published], serving: Outside) -> dict[str, Any]:
    """Return the chart's values that name all images by digest; of the outside one as far as it is known."""
    own = {image.name: _value(image) for image in images}
    named = {"imageRegistry": images[0].registry, **image_values(own)}
    place(named, _SERVING, _value(serving))
    return named


def values_text(images: Sequence[Published], serving: Outside, *, version: str) -> str:
    """Return these values as a file for people."""
    head = _HEAD.format(version=version)
    if not serving.digest:
        head += _UNPINNED.format(repository=serving.repository, tag=serving.tag)
    return head + yaml.safe_dump(values(images, serving), sort_keys=False)


def install_manifest(chosen: Mapping[str, Any]) -> str:
    """Return all objects of the chart with its namespace, in an order in which one `kubectl apply` works.

    helm's tests are left out: they are pods that would run.
    """
    rendered = documents(chosen, name=RELEASE, namespace=NAMESPACE)
    found = [_namespace(), *(document for texts in rendered.values() for document in texts)]
    found.sort(key=_place_in_order)
    return "---\n".join(document.strip() + "\n" for document in found)


def package_chart(folder: Path, *, epoch: int) -> Path:
    """Write the chart's package into a folder; every file in it has the time `epoch`."""
    with tempfile.TemporaryDirectory() as copied:
        chart = Path(copied) / CHART.name
        shutil.copytree(CHART, chart)
        for path in chart.rglob("*"):
            os.utime(path, (epoch, epoch))
        return Path(helm_python.package(chart, destination=folder))


def chart_version() -> str:
    """Return the version of the chart, which is that of the release."""
    return str(yaml.safe_load((CHART / "Chart.yaml").read_text())["version"])


def _value(image: Published | Outside) -> dict[str, str]:
    return {"repository": image.repository, "tag": image.tag, "digest": image.digest}


def _namespace() -> str:
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, sort_keys=False
    )


def _place_in_order(document: str) -> int:
    found = re.search(r"^kind: (\w+)", document, re.MULTILINE)
    assert found is not None
    return _FIRST.index(found[1]) if found[1] in _FIRST else len(_FIRST)
