"""Installs the chart with images of this checkout into a cluster, with the real helm."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from dev import paths
from dev.images.build import ImageRefs
from dev.kubectl import Kubectl

NAMESPACE = "kubetune-system"
RELEASE = "kubetune"
_TIMEOUT = "300s"  # a first pull of the operator image and its start, with room


def install(kubectl: Kubectl, images: ImageRefs, **settings: Any) -> None:
    """Install or upgrade the release and wait until the operator is ready; an up-to-date one is left alone.

    ``settings`` are further values below the chart's ``settings``.
    """
    values = _values(images, settings)
    if _installed_values(kubectl) == values and _is_ready(kubectl):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(values))
        file.flush()
        chart = paths.REPOSITORY / "charts" / "kubetune"
        kubectl.run_helm(
            *("upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace"),
            *("--values", Path(file.name), "--wait", "--timeout", _TIMEOUT),
        )


def _values(images: ImageRefs, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "image": _split(images.operator),
        "settings": {
            "trainerImage": _split(images.trainer),
            "servingCpuImage": _split(images.serving_cpu),
            **settings,
        },
    }


def _split(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _installed_values(kubectl: Kubectl) -> dict[str, Any] | None:
    releases = json.loads(
        kubectl.run_helm("list", "--namespace", NAMESPACE, "--filter", f"^{RELEASE}$", "-o", "json")
    )
    if not releases or releases[0]["status"] != "deployed":
        return None
    values = json.loads(kubectl.run_helm("get", "values", RELEASE, "--namespace", NAMESPACE, "-o", "json"))
    return values if isinstance(values, dict) else None


def _is_ready(kubectl: Kubectl) -> bool:
    deployment = kubectl.find("deployment", RELEASE, "-n", NAMESPACE) or {}
    return bool(deployment.get("status", {}).get("readyReplicas"))
