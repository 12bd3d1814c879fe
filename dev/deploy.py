"""Installs the chart with images of this checkout into a cluster, with the real helm."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import paths
from dev.image_values import PLACES, image_values
from dev.images.build import ImageRefs
from dev.kubectl import Kubectl

NAMESPACE = "kubetune-system"
RELEASE = "kubetune"
_CHART = paths.REPOSITORY / "charts" / "kubetune"
_TIMEOUT = "300s"  # a first pull of the operator image and its start, with room


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What helm knows of the release in a cluster."""

    status: str
    description: str
    values: dict[str, Any]

    def foreign_values(self) -> list[str]:
        """Return the values that somebody else has set, all but the images: `install` would reset them."""
        return [
            path
            for path in _leaves(self.values)
            if not path.startswith(tuple(f"{path}." for path in PLACES.values()))
        ]


def install(kubectl: Kubectl, images: ImageRefs, *, gateway: Mapping[str, Any] | None = None) -> None:
    """Install or upgrade the release and wait for its pods; one that is up to date is left alone.

    ``gateway`` are the values of the gateway, which is not installed without.
    """
    values, description = _values(images), f"chart {chart_digest(_CHART)}"
    values["gateway"] |= gateway or {}
    wanted = Release(status="deployed", description=description, values=values)
    names = [RELEASE, *([f"{RELEASE}-gateway"] if gateway else [])]
    if release(kubectl) == wanted and all(_is_ready(kubectl, name) for name in names):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(values))
        file.flush()
        kubectl.run_helm(
            *("upgrade", "--install", RELEASE, _CHART, "--namespace", NAMESPACE, "--create-namespace"),
            *("--values", Path(file.name), "--description", description, "--wait", "--timeout", _TIMEOUT),
        )


def release(kubectl: Kubectl) -> Release | None:
    """Return what is installed; None when nothing is, or not yet."""
    known = json.loads(
        kubectl.run_helm("list", "--all", "--namespace", NAMESPACE, "--filter", f"^{RELEASE}$", "-o", "json")
    )
    if not known:
        return None
    found = json.loads(kubectl.run_helm("status", RELEASE, "--namespace", NAMESPACE, "-o", "json"))
    info = found["info"]
    return Release(
        status=info["status"], description=info.get("description", ""), values=found.get("config") or {}
    )


def chart_digest(chart: Path) -> str:
    """Return a digest of a chart's files: an edited template must be installed although no value changed."""
    digest = hashlib.sha256()
    for path in sorted(path for path in chart.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(b"%s\0%d\0" % (str(path.relative_to(chart)).encode(), len(content)) + content)
    return digest.hexdigest()[:12]


def _values(images: ImageRefs) -> dict[str, Any]:
    return image_values({name: _split(reference) for name, reference in images.by_name.items()})


def _split(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _is_ready(kubectl: Kubectl, name: str) -> bool:
    deployment = kubectl.find("deployment", name, "-n", NAMESPACE) or {}
    return bool(deployment.get("status", {}).get("readyReplicas"))
