"""Renders single templates of this checkout's chart with the cluster's own helm."""

from pathlib import Path
from typing import Any

import yaml

from dev import paths, shell
from dev.cluster.binaries import KUBERNETES_VERSION

_CHART = paths.REPOSITORY / "charts" / "kubetune"
_NAMESPACE = "kubetune-system"


def objects(helm: Path, template: str, *values: str) -> list[dict[str, Any]]:
    """Return the objects of a template, a path below ``templates``, with values such as ``a.b=c``."""
    text = shell.output(
        [
            *(helm, "template", "kubetune", _CHART, "--namespace", _NAMESPACE),
            *("--show-only", f"templates/{template}"),
            *(each for value in values for each in ("--set", value)),
            *("--kube-version", KUBERNETES_VERSION),  # a helm from source takes 1.20 for granted
        ]
    )
    return [made for made in yaml.safe_load_all(text) if made]
