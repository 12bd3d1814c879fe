"""Which cluster the tools work on: the local one, or the one that KUBETUNE_KUBECONFIG names.

A plain KUBECONFIG is never read: people have it exported, and it is production.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from dev.cluster.binaries import ensure_binaries
from dev.errors import DevError
from dev.kubectl import Kubectl


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A cluster that is not ours."""

    kubeconfig: Path
    registry: str


class TargetError(DevError):
    """The environment names a cluster incompletely, or it was declined."""


def foreign() -> Foreign | None:
    """Return the cluster that the environment names; None means the local one.

    Raises TargetError when KUBETUNE_REGISTRY is missing beside KUBETUNE_KUBECONFIG.
    """
    kubeconfig, registry = os.environ.get("KUBETUNE_KUBECONFIG"), os.environ.get("KUBETUNE_REGISTRY")
    if not kubeconfig:
        return None
    if not registry:
        raise TargetError(
            "KUBETUNE_KUBECONFIG is set but KUBETUNE_REGISTRY is not: name the cluster's registry"
        )
    if not Path(kubeconfig).is_file():
        raise TargetError(f"KUBETUNE_KUBECONFIG names {kubeconfig}, which is not a file")
    return Foreign(kubeconfig=Path(kubeconfig), registry=registry)


def confirm(target: Foreign, *, action: str) -> None:
    """Ask before anything is changed in a cluster that is not ours; KUBETUNE_YES=1 answers."""
    if os.environ.get("KUBETUNE_YES") == "1":
        return
    if not sys.stdin.isatty():
        raise TargetError(f"{action} changes the cluster of {target.kubeconfig}: set KUBETUNE_YES=1 to agree")
    if not typer.confirm(f"{action} in the cluster of {target.kubeconfig}?", err=True):
        raise TargetError("declined")


def kubectl_of(kubeconfig: Path) -> Kubectl:
    """Return kubectl and helm for a kubeconfig."""
    binaries = ensure_binaries()
    return Kubectl(program=binaries.program("kubectl"), helm=binaries.program("helm"), kubeconfig=kubeconfig)
